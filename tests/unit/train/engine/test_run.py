"""The smoke run from drawing to bundle, its evaluation from the command line, resuming, and the clock."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from model.bundle import load_bundle
from model.predictor import Predictor
from train.__main__ import main
from train.data.catalogue import read_catalogue
from train.data.dataset import load_dataset
from train.data.drawn import draw
from train.data.images import ImageStore
from train.data.options import Options
from train.engine import loop
from train.engine.checkpoint import load_average, load_options, save_options
from train.evaluate import main as evaluate
from train.synthetic.smoke import smoke_options
from train.synthetic.tiny import make_tiny_bundle

FIGURES = {"accuracy", "macro_f1", "ece", "coverage", "precision"}


def test_the_smoke_run_learns_the_drawn_articles(smoke_run: Path) -> None:
    predictor = Predictor.load(smoke_run / "bundle", device="cpu", threads=1)
    picture = predictor.preprocess(draw("Skirts", "Green", (180, 240), 12345))
    answer = predictor.predict([picture])[0]
    assert answer.predictions["articleType"].alternatives[0].value == "Skirts"
    assert answer.predictions["subCategory"].alternatives[0].value == "Bottomwear"


def test_the_bundle_has_no_auxiliary_heads_and_a_card(smoke_run: Path) -> None:
    bundle = load_bundle(smoke_run / "bundle")
    assert not [name for name in bundle.weights if "Category" in name]
    assert [name for name in load_average(smoke_run) if "subCategory" in name]
    assert "Drawn by code" in bundle.card
    assert set(bundle.metrics) == {"catalogue/val", "photos/val", "catalogue/test", "photos/test", "non-products/drawn"}


def test_evaluating_a_catalogue(smoke_run: Path, catalogue: Path, tmp_path: Path) -> None:
    report = run_evaluation(smoke_run / "bundle", catalogue, tmp_path / "deep" / "report.json")
    assert report["rows"] == 10
    assert set(report["attributes"]) == {
        "gender", "baseColour", "season", "usage", "articleType", "subCategory", "masterCategory"
    }  # fmt: skip
    assert all(set(row) >= FIGURES for row in report["attributes"].values())
    assert report["attributes"]["articleType"]["accuracy"] > 0.6
    assert report["hierarchy"]["answers_consistent"] == 1


def test_evaluating_photos(smoke_run: Path, photos: Path, tmp_path: Path) -> None:
    report = run_evaluation(smoke_run / "bundle", photos, tmp_path / "report.json")
    assert {"type_fits", "coverage", "precision"} <= set(report)
    assert report["attributes"]["articleType"]["type_fits"] == report["type_fits"]


def test_the_figures_are_those_of_the_predictors_answers(catalogue: Path, tmp_path: Path) -> None:
    """Evaluation and serving must not drift apart: the same rows counted through `Predictor.predict`."""
    folder = make_tiny_bundle(tmp_path / "bundle")
    predictor, store = Predictor.load(folder, device="cpu", threads=1), ImageStore(catalogue)
    items = [item for item in read_catalogue(catalogue) if item.split == "test"]
    answers = predictor.predict([store.pixels(item.image, predictor.bundle.size) for item in items])
    report = run_evaluation(folder, catalogue, tmp_path / "report.json")
    for name in ("gender", "articleType", "subCategory"):
        best = [answer.predictions[name].alternatives[0].value for answer in answers]
        hits = [value == item.labels[name] for value, item in zip(best, items, strict=True)]
        assert report["attributes"][name]["accuracy"] == pytest.approx(sum(hits) / len(hits))
        covered = sum(answer.metadata[name] is not None for answer in answers) / len(answers)
        assert report["attributes"][name]["coverage"] == pytest.approx(covered)


def run_evaluation(bundle: Path, data: Path, json_file: Path) -> dict[str, dict[str, dict[str, float]]]:
    arguments = ["--bundle", str(bundle), "--data", str(data), "--split", "test", "--json", str(json_file)]
    result = CliRunner().invoke(evaluate, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    report: dict[str, dict[str, dict[str, float]]] = json.loads(json_file.read_text())
    return report


@pytest.mark.parametrize("split", ["test", "holiday"])
def test_evaluating_what_is_not_there_says_so(tmp_path: Path, catalogue: Path, split: str) -> None:
    bundle = tmp_path if split == "test" else make_tiny_bundle(tmp_path)
    result = CliRunner().invoke(evaluate, ["--bundle", str(bundle), "--data", str(catalogue), "--split", split])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")


def test_a_stopped_run_goes_on_where_it_was(smoke_run: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(smoke_run, tmp_path / "run"))
    resumed = loop.train(load_options(out), load_dataset(load_options(out), None), is_resumed=True).state_dict()
    finished = load_average(smoke_run)
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in finished.items())


def test_the_further_clock_counts(tmp_path: Path) -> None:
    options = Options(out=tmp_path, data=tmp_path, max_minutes=10)
    now = time.monotonic()
    assert loop.progress(50, 100, now, options) == pytest.approx(0.5)
    assert loop.progress(50, 100, now - 9 * 60, options) == pytest.approx(0.9, abs=1e-3)
    assert loop.progress(50, 100, now - 9 * 60, Options(out=tmp_path, data=tmp_path)) == 0.5


def test_the_rate_warms_up_and_ends_low(tmp_path: Path) -> None:
    options = Options(out=tmp_path, data=tmp_path, learning_rate=1.0, warm_up_steps=10)
    assert loop.learning_rate(options, 0, 0.0) == pytest.approx(0.1)
    assert loop.learning_rate(options, 9, 0.0) == pytest.approx(1.0)
    assert loop.learning_rate(options, 99, 1.0) == pytest.approx(0.01)


def test_options_survive_their_file(tmp_path: Path) -> None:
    options = smoke_options(tmp_path / "run")
    save_options(options)
    assert load_options(tmp_path / "run") == options


def test_training_needs_data(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "--data" in result.output

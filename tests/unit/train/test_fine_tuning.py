"""A table whose validation split can judge: new heads first, fine-tuning after, and the better of the two is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from model.bundle import load_bundle, save_bundle
from model.predictor import Predictor
from train.__main__ import main as train
from train.data.drawn import write_catalogue
from train.ensemble.companion import join
from train.probe import run
from train.synthetic.tiny import make_tiny_bundle


@pytest.mark.parametrize(
    ("epochs", "has_companion", "sentence"),
    [(2, False, "fine-tuned; the "), (2, True, "fine-tuned; the "), (0, True, "no time for fine-tuning")],
)
def test_the_better_network_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int, has_companion: bool, sentence: str
) -> None:
    monkeypatch.setattr(run, "SMALL_VALIDATION", 10)
    data, start = write_catalogue(tmp_path / "catalogue", rows=120), make_tiny_bundle(tmp_path / "start")
    if has_companion:
        second = load_bundle(make_tiny_bundle(tmp_path / "second", seed=1))
        save_bundle(join(load_bundle(start), second), start)
    lines = ["--data", data, "--start", start, "--out", tmp_path / "run", "--epochs", epochs, "--batch-size", 16]
    done = CliRunner().invoke(train, [str(each) for each in [*lines, "--cache", tmp_path / "cache"]])
    assert done.exit_code == 0, done.output
    assert sentence in done.output
    bundle = load_bundle(tmp_path / "run" / "bundle")
    assert (bundle.training["trained_on"], bundle.training["thresholds_from"]) == (["train"], "val")
    assert set(bundle.metrics) == {"catalogue/val", "catalogue/test", "non-products/drawn"}
    assert (bundle.companion is not None) == has_companion
    Predictor.load(tmp_path / "run" / "bundle", device="cpu", threads=1).warm_up()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--architecture", "convnext_atto_ols"], "is a test_convnext, not a convnext_atto_ols"),
        (["--start", "TABLE"], "--start"),
    ],
)
def test_a_start_that_does_not_fit_is_named(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    data, start = write_catalogue(tmp_path / "catalogue", rows=30), make_tiny_bundle(tmp_path / "start")
    given = [str(data) if each == "TABLE" else each for each in arguments]
    lines = ["--data", str(data), "--start", str(start), "--out", str(tmp_path / "run"), *given]
    done = CliRunner().invoke(train, lines)
    assert done.exit_code == 2
    assert sentence in done.output

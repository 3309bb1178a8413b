"""A shop's own table, attributes and tree: from its CSV to a bundle, with the documented commands."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from model.bundle import load_bundle
from model.predictor import Predictor
from train.__main__ import main as train
from train.data.drawn import draw
from train.evaluate import main as evaluate
from train.taxonomy import main as count

KINDS = {"Shirts": ("Tops", "Clothes"), "Skirts": ("Bottoms", "Clothes"), "Caps": ("Hats", "Extras")}
MATERIALS = {"Red": "linen", "Green": "wool"}
CONFIG = """
data = "{folder}/products.csv"
taxonomy = "{folder}/taxonomy.json"
architecture = "test_convnext"
size = [48, 36]
epochs = 8
batch-size = 16
threads = 1
learning-rate = 4e-3

[columns]
image = "photo"
group = "style"
name = "title"

[precisions]
material = 0.5

[margins]
material = 0.05
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with products.csv, a subfolder with its images, and the run's configuration file."""
    folder, rng = tmp_path_factory.mktemp("shop"), random.Random(0)
    (folder / "pictures").mkdir()
    with (folder / "products.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["photo", "style", "title", "material", "kind", "shelf", "hall"])
        for number in range(220):
            kind, colour = rng.choice(list(KINDS)), rng.choice(list(MATERIALS))
            draw(kind, colour, (60, 80), number).save(folder / "pictures" / f"{number}.png")
            material = MATERIALS[colour] if number % 9 else ""
            table.writerow(
                [f"pictures/{number}.png", f"style {number}", f"{colour}, {kind}", material, kind, *KINDS[kind]]
            )
    (folder / "run.toml").write_text(CONFIG.format(folder=folder), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(shop: Path) -> Path:
    """The run's folder, after `train.taxonomy` and `train`."""
    table = ["--data", f"{shop}/products.csv", "--column", "image=photo", "--column", "group=style"]
    lines = ["--attributes", "material,kind", "--tree", "kind,shelf,hall", "--out", f"{shop}/taxonomy.json"]
    counted = CliRunner().invoke(count, [*table, *lines], catch_exceptions=False)
    assert counted.exit_code == 0, counted.output
    assert "kind: 3 values" in counted.output
    done = run(shop, "--out", f"{shop}/run", "--name", "shop", "--cache", f"{shop}/cache")
    assert done.exit_code == 0, done.output
    return shop / "run"


def run(shop: Path, *more: str) -> Result:
    return CliRunner().invoke(train, ["--config", f"{shop}/run.toml", *more], catch_exceptions=False)


def test_the_bundle_answers_with_the_shops_own_attributes(trained: Path) -> None:
    predictor = Predictor.load(trained / "bundle", device="cpu", threads=1)
    answer = predictor.predict([predictor.preprocess(draw("Skirts", "Green", (60, 80), 999))])[0]
    assert tuple(answer.metadata) == ("material", "kind", "shelf", "hall", "productDisplayName")
    best = {name: row.alternatives[0].value for name, row in answer.predictions.items()}
    assert best == {"material": "wool", "kind": "Skirts", "shelf": "Bottoms", "hall": "Clothes"}
    assert predictor.bundle.calibration["material"].precision == 0.5
    assert "Scores of shelf and hall are sums over kind." in predictor.bundle.card
    assert "No description of the data and their limits was given" in predictor.bundle.card


def test_its_figures_are_printed_and_written(trained: Path, shop: Path) -> None:
    arguments = ["--bundle", f"{trained}/bundle", "--data", f"{shop}/products.csv", "--json", f"{shop}/figures.json"]
    columns = ["--column", "image=photo", "--column", "group=style"]
    result = CliRunner().invoke(evaluate, [*arguments, *columns], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    report = json.loads((shop / "figures.json").read_text())
    assert set(report["attributes"]) == {"material", "kind", "shelf", "hall"}
    assert report["attributes"]["kind"]["accuracy"] > 0.6
    assert report["attributes"]["material"]["rows"] < report["rows"]
    assert report["hierarchy"]["answers_consistent"] == 1


def test_a_resumed_run_needs_only_its_folder(trained: Path) -> None:
    lines = ["--out", str(trained), "--export-only", "--bundle", f"{trained}/again", "--cache", f"{trained}/cache"]
    result = CliRunner().invoke(train, lines, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert load_bundle(trained / "again").taxonomy == load_bundle(trained / "bundle").taxonomy


def test_the_command_line_overrides_the_file(shop: Path, trained: Path, tmp_path: Path) -> None:
    assert run(shop, "--out", f"{tmp_path}/run", "--epochs", "1", "--cache", f"{shop}/cache").exit_code == 0
    settings = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (settings["epochs"], settings["batch_size"], settings["columns"]["image"]) == (1, 16, "photo")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "sets epoch, which is not an option"),
        ("teachers = ['bundle']", "sets teachers, which is not an option"),
        ("epochs = ", "is not TOML"),
        ("[columns]\npicture = 'a'", "unknown columns: picture"),
        ("teacher = ['no-such-bundle']", "no-such-bundle"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")
    data = ["--data", str(tmp_path), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(train, ["--config", str(tmp_path / "run.toml"), *data])
    assert result.exit_code == 2
    assert message in result.output


def test_a_table_without_the_image_column_is_an_error(shop: Path, tmp_path: Path) -> None:
    arguments = ["--data", f"{shop}/products.csv", "--attributes", "material", "--out", str(tmp_path / "t.json")]
    result = CliRunner().invoke(count, arguments)
    assert result.exit_code == 1
    assert "needs a column id" in result.output

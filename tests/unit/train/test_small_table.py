"""A shop's table of a few hundred rows: checked, trained on in seconds, evaluated without leaks, compared."""

from __future__ import annotations

import csv
import dataclasses
import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from model.bundle import ALWAYS_ABSTAIN, SHIPPED, load_bundle, save_bundle
from model.predictor import Predictor
from train.__main__ import main as train
from train.check import main as check
from train.compare import main as compare
from train.data.drawn import draw
from train.evaluate import main as evaluate
from train.taxonomy import main as count

ROWS = 300
KINDS = {"Shirts": "top", "Skirts": "bottom", "Caps": "hat", "Formal Shoes": "shoe"}
TONES = {"Red": "warm", "Green": "cold", "Navy Blue": "cold", "Black": "dark"}
SIZE = "size = [64, 48]"
CONFIG = f"""
data = "products.csv"
taxonomy = "taxonomy.json"
{SIZE}
threads = 1

[columns]
image = "photo"
group = "style"
name = "title"
"""


def write_shop(folder: Path, rows: int = ROWS) -> Path:
    """products.csv with kind, tone and luck (which no picture shows), its images, run.toml and taxonomy.json."""
    rng = random.Random(5)
    (folder / "pictures").mkdir(parents=True)
    with (folder / "products.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["photo", "style", "title", "kind", "tone", "luck"])
        for number in range(rows):
            kind, colour = rng.choice(list(KINDS)), rng.choice(list(TONES))
            draw(kind, colour, (60, 80), number).save(folder / "pictures" / f"{number}.png")
            luck = rng.choice(["heads", "tails"])
            table.writerow([f"pictures/{number}.png", f"s{number}", f"No {number}", KINDS[kind], TONES[colour], luck])
    (folder / "run.toml").write_text(CONFIG, encoding="utf-8")
    columns = ["--column", "image=photo", "--column", "group=style", "--column", "name=title"]
    lines = ["--attributes", "kind,tone,luck", "--out", str(folder / "taxonomy.json")]
    counted = CliRunner().invoke(count, ["--data", str(folder / "products.csv"), *columns, *lines])
    assert counted.exit_code == 0, counted.output
    return folder


def run(command: object, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments])  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("shop") / "files")


@pytest.fixture(scope="module")
def trained(shop: Path) -> tuple[Path, str]:
    """The run's folder and what it printed; started elsewhere than in the shop's folder."""
    out = shop / "run"
    done = run(train, "--config", shop / "run.toml", "--out", out, "--name", "shop", "--cache", shop / "cache")
    assert done.exit_code == 0, done.output
    return out, done.output


def test_three_hundred_rows_are_answered(trained: tuple[Path, str]) -> None:
    bundle = load_bundle(trained[0] / "bundle")
    checks = bundle.training["thresholds"]
    assert bundle.training["start"] == f"fashion {load_bundle(SHIPPED).version}"
    assert bundle.size == (64, 48)
    assert checks["kind"]["accuracy"] >= 0.88
    assert checks["kind"]["answered"] >= 0.60
    assert checks["kind"]["bound"] >= 0.90
    assert checks["kind"]["bound"] <= checks["kind"]["precision"]
    assert checks["kind"]["rows"] > 250, "all rows but those of test choose the threshold"


def test_the_bundle_is_served_as_any_other(trained: tuple[Path, str]) -> None:
    predictor = Predictor.load(trained[0] / "bundle", device="cpu", threads=1)
    answer = predictor.predict([predictor.preprocess(draw("Skirts", "Green", (60, 80), 999))])[0]
    assert answer.predictions["kind"].alternatives[0].value == "bottom"
    assert answer.metadata["luck"] is None


def test_what_is_never_answered_is_said_loudly_and_why(trained: tuple[Path, str]) -> None:
    out, printed = trained
    bundle = load_bundle(out / "bundle")
    assert bundle.calibration["luck"].threshold >= ALWAYS_ABSTAIN
    assert "WARNING: luck will never be answered: too often wrong" in printed
    assert "**luck is never answered**: too often wrong" in bundle.card
    assert "kind will never be answered" not in printed
    assert "bundle written to" in printed, "progress goes on after the last epoch"


def test_evaluation_reads_the_table_as_training_did(trained: tuple[Path, str], shop: Path, tmp_path: Path) -> None:
    data = ["--bundle", trained[0] / "bundle", "--data", shop / "products.csv"]
    found = run(evaluate, *data, "--json", tmp_path / "figures.json")
    assert found.exit_code == 0, found.output
    report = json.loads((tmp_path / "figures.json").read_text())
    assert report["rows"] == load_bundle(trained[0] / "bundle").training["rows"]["test"]
    assert run(evaluate, *data, "--column", "image=photo", "--column", "group=style").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--column", "group=title"], "the bundle was trained with group=style"),
        (["--split", "val"], "the bundle was trained on the rows of val"),
        (["--split", "train"], "the bundle was trained on the rows of train"),
    ],
)
def test_evaluation_that_would_leak_is_refused(
    trained: tuple[Path, str], shop: Path, arguments: list[str], sentence: str
) -> None:
    data = ["--bundle", trained[0] / "bundle", "--data", shop / "products.csv"]
    refused = run(evaluate, *data, *arguments)
    assert refused.exit_code == 1
    assert sentence in refused.output


def test_a_split_column_that_came_later_is_refused(trained: tuple[Path, str], shop: Path, tmp_path: Path) -> None:
    lines = (shop / "products.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "products.csv").write_text(
        "\n".join([f"{lines[0]},split", *[f"{line},test" for line in lines[1:]]]), encoding="utf-8"
    )
    refused = run(evaluate, "--bundle", trained[0] / "bundle", "--data", tmp_path / "products.csv")
    assert refused.exit_code == 1
    assert 'the table\'s is now "column split"' in refused.output


def test_a_bundle_of_an_older_release_has_no_record(trained: tuple[Path, str], tmp_path: Path) -> None:
    save_bundle(dataclasses.replace(load_bundle(trained[0] / "bundle"), training={}), tmp_path)
    config = json.loads((tmp_path / "bundle.json").read_text())
    del config["training"]
    (tmp_path / "bundle.json").write_text(json.dumps(config))
    assert load_bundle(tmp_path).training == {}


def test_two_bundles_are_compared_on_own_pictures(trained: tuple[Path, str], shop: Path, tmp_path: Path) -> None:
    bundle = load_bundle(trained[0] / "bundle")
    stricter = {
        name: dataclasses.replace(row, threshold=ALWAYS_ABSTAIN if name == "kind" else row.threshold)
        for name, row in bundle.calibration.items()
    }
    save_bundle(dataclasses.replace(bundle, version="2", calibration=stricter), tmp_path / "b")
    data = [trained[0] / "bundle", tmp_path / "b", "--data", shop / "products.csv", "--examples", 2]
    done = run(compare, *data, "--json", tmp_path / "changes.json")
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "changes.json").read_text())
    kind, tone = report["attributes"]["kind"], report["attributes"]["tone"]
    assert kind["A"]["answered"] > 0.6
    assert kind["A"]["precision"] > 0.9
    assert kind["B"] == {"answered": 0.0, "precision": None}
    lost = kind["changes"]["no_longer_answered"]
    assert len(lost["examples"]) == 2
    assert lost["examples"][0]["id"].startswith("pictures/")
    assert (tone["changes"], tone["same"]) == ({}, 1.0)
    assert "kind, no longer answered" in done.output
    folder = run(compare, *data[:2], "--data", shop / "pictures")
    assert f"{ROWS} pictures" in folder.output


def test_another_taxonomys_attributes_are_only_listed(trained: tuple[Path, str], shop: Path, tmp_path: Path) -> None:
    done = run(compare, SHIPPED, trained[0] / "bundle", "--data", shop / "products.csv", "--split", "test")
    assert done.exit_code == 0, done.output
    assert "kind: only B has this attribute" in done.output
    assert "articleType: only A has this attribute" in done.output
    assert run(compare, SHIPPED, tmp_path, "--data", shop / "products.csv").exit_code == 1


def test_a_good_table_passes(shop: Path) -> None:
    done = run(check, "--config", shop / "run.toml")
    assert done.exit_code == 0, done.output
    assert "errors=0" in done.output
    assert "time: about" in done.output
    assert "train: " in done.output


def spoil(folder: Path, old: str, new: str, file: str = "products.csv", count: int = -1) -> None:
    text = (folder / file).read_text(encoding="utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new, count), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "old", "new", "code", "sentence"),
    [
        (
            "run.toml",
            '"photo"',
            '"phot"',
            1,
            "has no column phot, which was named as the image column; did you mean photo?",
        ),
        ("run.toml", '"style"', '"styel"', 1, "did you mean style?"),
        ("taxonomy.json", '"tone"', '"tones"', 1, "lacks the attribute tones; did you mean tone?"),
        ("run.toml", "[columns]", "[precisions]\nkinds = 0.8\n[columns]", 1, "[precisions] names kinds"),
        ("products.csv", "pictures/", "picture/", 1, "60 of 60 pictures are missing"),
        ("products.csv", "pictures/7.png", "pictures/none.png", 0, "1 of 60 pictures are missing"),
        ("products.csv", ",warm,", ",Warm ,", 0, "is not in the taxonomy; did you mean warm?"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(
    tmp_path: Path, file: str, old: str, new: str, code: int, sentence: str
) -> None:
    folder = write_shop(tmp_path / "files", rows=60)
    spoil(folder, old, new, file)
    done = run(check, "--config", folder / "run.toml")
    assert done.exit_code == code, done.output
    assert sentence in done.output


def test_a_misspelt_value_is_named(tmp_path: Path) -> None:
    folder = write_shop(tmp_path / "files", rows=60)
    spoil(folder, ",bottom,", ",botom,", count=1)
    done = run(check, "--config", folder / "run.toml")
    assert done.exit_code == 0, done.output
    assert "botom (1 rows) may be a misspelling of bottom" in done.output


def test_twins_and_broken_pictures_are_found(tmp_path: Path) -> None:
    folder = write_shop(tmp_path / "files", rows=60)
    with (folder / "products.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for place, row in enumerate(rows):
        row["split"] = "test" if place == 59 else "train"
    picture = (folder / "pictures" / "0.png").read_bytes()
    (folder / "pictures" / "59.png").write_bytes(picture)
    with (folder / "products.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    done = run(check, "--config", folder / "run.toml")
    assert done.exit_code == 0, done.output
    assert "pictures/0.png (train) = pictures/59.png (test)" in done.output
    (folder / "pictures" / "3.png").write_bytes(b"no picture")
    broken = run(check, "--config", folder / "run.toml")
    assert broken.exit_code == 1
    assert "1 pictures cannot be decoded: pictures/3.png" in broken.output


def test_too_few_rows_answer_nothing_and_say_why(tmp_path: Path) -> None:
    folder = write_shop(tmp_path / "files", rows=20)
    done = run(train, "--config", folder / "run.toml", "--out", folder / "run", "--cache", folder / "cache")
    assert done.exit_code == 0, done.output
    assert "WARNING: This bundle will answer nothing" in done.output
    assert "a precision of 0.90 takes 29 products even if every guess is right" in done.output
    assert "kind is never answered" in load_bundle(folder / "run" / "bundle").card

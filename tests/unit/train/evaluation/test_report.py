"""The HTML report with its plots and contact sheets, and the audit of labels in doubt."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from train.audit import main as audit_command
from train.evaluate import main as evaluate
from train.evaluation import audit, plots
from train.evaluation.measure import AttributePredictions


def predictions(
    truth: list[str], guesses: list[str], scores: list[float], threshold: float = 0.5
) -> AttributePredictions:
    confidence = np.array(scores)
    return AttributePredictions(
        name="kind",
        rows=np.arange(len(truth)),
        truth=truth,
        guesses=guesses,
        correct=np.array([true == guess for true, guess in zip(truth, guesses, strict=True)]),
        confidence=confidence,
        uncalibrated=confidence,
        is_product=np.ones(len(truth), dtype=bool),
        threshold=threshold,
        target_precision=0.9,
    )


def test_the_page_holds_figures_plots_and_the_worst_mistakes(smoke_run: Path, catalogue: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    arguments = ["--bundle", str(smoke_run / "bundle"), "--data", str(catalogue), "--report", str(folder)]
    result = CliRunner().invoke(evaluate, arguments, catch_exceptions=False)
    assert f"report: {folder / 'index.html'}" in result.output
    page = (folder / "index.html").read_text()
    assert page.count("<svg") >= 4
    for title in ("Metrics", "Calibration: accuracy by score", "articleType: confusion matrix"):
        assert title in page
    sheets = sorted(folder.glob("worst-*.jpg"))
    assert sheets, "a network of a few seconds is wrong somewhere"
    for sheet in sheets:
        assert f'src="{sheet.name}"' in page
        with Image.open(sheet) as image:
            image.verify()


def test_the_page_of_photos_has_no_confusion_matrix(smoke_run: Path, photos: Path, tmp_path: Path) -> None:
    """Their coarse labels are not values of the taxonomy, so they cannot be compared with the guesses one by one."""
    arguments = ["--bundle", str(smoke_run / "bundle"), "--data", str(photos), "--report", str(tmp_path / "report")]
    assert CliRunner().invoke(evaluate, arguments, catch_exceptions=False).exit_code == 0
    page = (tmp_path / "report" / "index.html").read_text()
    assert "Calibration: accuracy by score" in page
    assert "confusion matrix" not in page


def test_confusion_counts_each_true_value_as_one_whole() -> None:
    shares = plots.confusion_shares(predictions(list("aaab"), list("aabc"), [0.9] * 4), ["a", "b"])
    assert shares.tolist() == [[pytest.approx(2 / 3), pytest.approx(1 / 3), 0], [0, 0, 1]]


def test_the_curve_begins_with_the_surest_row() -> None:
    coverage, precision = plots.curve(predictions(list("abc"), list("abx"), [0.9, 0.3, 0.6]))
    assert coverage.tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    assert precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3])


def test_neighbours_are_never_of_the_same_product() -> None:
    features = np.array([[1, 0], [0.99, 0.1], [0.9, 0.4], [0, 1]])
    nearest = audit.nearest(features, ["a", "a", "b", "c"], count=1)
    assert nearest[:, 0].tolist() == [2, 2, 1, 2]


def test_a_small_table_has_fewer_neighbours_than_asked_for() -> None:
    nearest = audit.nearest(np.eye(3), ["a", "a", "b"], count=10)
    assert nearest.shape == (3, 3)
    assert sorted(nearest[0].tolist()) == [-1, -1, 2]


def test_the_audit_finds_a_label_that_was_put_wrong(smoke_run: Path, catalogue: Path, tmp_path: Path) -> None:
    table = catalogue / "styles.csv"
    with table.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    spoilt = next(row for row in rows if row["split"] == "train" and row["articleType"] == "Skirts")
    spoilt["articleType"] = "Tshirts"
    data = tmp_path / "data"
    data.mkdir()
    for file in catalogue.iterdir():
        if file != table:
            (data / file.name).symlink_to(file)
    with (data / "styles.csv").open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    arguments = ["--bundle", str(smoke_run / "bundle"), "--data", str(data), "--cache", str(tmp_path / "cache")]
    arguments += ["--min-score", "0.5", "--csv", str(tmp_path / "doubts.csv")]
    result = CliRunner().invoke(audit_command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    with (tmp_path / "doubts.csv").open(encoding="utf-8", newline="") as lines:
        doubts = [row for row in csv.DictReader(lines) if row["attribute"] == "articleType"]
    assert [(row["image"], row["label"], row["guess"]) for row in doubts] == [(spoilt["id"], "Tshirts", "Skirts")]


def test_the_audit_reports_a_missing_bundle(tmp_path: Path, catalogue: Path) -> None:
    result = CliRunner().invoke(audit_command, ["--bundle", str(tmp_path), "--data", str(catalogue)])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")

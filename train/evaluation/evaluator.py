"""Evaluation of a bundle on one split of a catalogue or of customer photos; reports are JSON-ready dicts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.bundle import Bundle
from model.preprocessing import Pixels
from model.taxonomy import Taxonomy
from train.data.catalogue import Columns, Item, read_catalogue
from train.data.dataset import PhotoSplit, load_photo_split
from train.data.images import ImageStore, load_pixels
from train.data.photos import GENDER, read_photos
from train.evaluation.bootstrap import bootstrap_intervals
from train.evaluation.calibrate import cluster_numbers
from train.evaluation.caption_evaluator import evaluate_captions
from train.evaluation.inference import SplitScores, compute_scores
from train.evaluation.measure import (
    AttributePredictions,
    BoolArray,
    FloatArray,
    answered,
    figures,
)

Scores = dict[str, npt.NDArray[np.float64]]


def evaluate(
    bundle: Bundle, data: Path, split: str, columns: Columns | None = None, labels: Path | None = None
) -> dict[str, Any]:
    """The report on one split of a catalogue or, if `data` has a photos.csv, of customer photos.

    `columns` maps fields to a catalogue's columns; `labels` is a JSON file with the values that fit each photo label.
    Both default to the client's. Raises FileNotFoundError or ValueError if `data` has neither layout.
    """
    return evaluate_with_predictions(bundle, data, split, columns, labels)[0]


def evaluate_with_predictions(
    bundle: Bundle, data: Path, split: str, columns: Columns | None = None, labels: Path | None = None
) -> tuple[dict[str, Any], EvaluatedSplit]:
    """Like `evaluate`, but also returns the images and the predictions for each of them."""
    about = {"bundle": bundle.name, "version": bundle.version, "data": data.resolve().stem, "split": split}
    if (data / "photos.csv").exists():
        report, evaluated = evaluate_photos(bundle, data, split, labels)
        return {**about, "kind": "photos", **report}, evaluated
    report, evaluated = evaluate_catalogue(bundle, data, split, columns)
    return {**about, "kind": "catalogue", **report}, evaluated


@dataclass(frozen=True)
class EvaluatedSplit:
    """The images of a split at the network's input size (N x height x width x 3), and predictions per attribute."""

    pixels: Pixels
    predictions: list[AttributePredictions]


def evaluate_catalogue(
    bundle: Bundle, data: Path, split: str, columns: Columns | None = None
) -> tuple[dict[str, Any], EvaluatedSplit]:
    """Metrics per attribute over labelled rows, per image-size tier, and of the tree.

    A label that the taxonomy does not know counts as a wrong prediction.
    """
    store = ImageStore(data)
    rows = read_catalogue(data, bundle.taxonomy.values, columns)
    items = [item for item in rows if item.split == split and item.image in store]
    if not items:
        raise ValueError(f"{data.name} has no images in the split {split!r}")
    pixels = load_pixels(data, [item.image for item in items], bundle.size)
    report, predictions = report_rows(bundle, items, compute_scores(bundle, pixels))
    report["captions"] = evaluate_captions(bundle, data, split, columns) if bundle.captioner else {}
    return report, EvaluatedSplit(pixels, predictions)


def report_rows(
    bundle: Bundle, items: Sequence[Item], split_scores: SplitScores
) -> tuple[dict[str, Any], list[AttributePredictions]]:
    """Metrics of catalogue rows from their scores, without captions, and the predictions behind them."""
    predictions = catalogue_predictions(bundle, items, split_scores)
    tiers = {"small": [item.is_small is True for item in items], "larger": [item.is_small is False for item in items]}
    groups = cluster_numbers([item.group for item in items])
    report = {
        "rows": len(items),
        "taken": float(split_scores.is_product.mean()),
        "attributes": {each.name: asdict(figures(each)) for each in predictions},
        "spread": {each.name: asdict(bootstrap_intervals(each, groups[each.rows])) for each in predictions},
        "tiers": {tier: _of_tier(predictions, np.array(chosen)) for tier, chosen in tiers.items() if any(chosen)},
        "hierarchy": hierarchy(bundle, split_scores.scores),
        "captions": {},
    }
    return report, predictions


def catalogue_predictions(
    bundle: Bundle, items: Sequence[Item], split_scores: SplitScores
) -> list[AttributePredictions]:
    """Predictions for every attribute that at least one row has a label for."""
    found = []
    for name, values in bundle.taxonomy.values.items():
        rows = np.array([i for i, item in enumerate(items) if name in item.labels], dtype=np.int64)
        if len(rows):
            truth = [items[i].labels[name] for i in rows]
            guesses = [values[i] for i in split_scores.scores[name][rows].argmax(axis=1)]
            correct = np.array([true == guess for true, guess in zip(truth, guesses, strict=True)], dtype=bool)
            found.append(_attribute_predictions(bundle, name, rows, truth, guesses, correct, split_scores))
    return found


def _attribute_predictions(
    bundle: Bundle,
    name: str,
    rows: npt.NDArray[np.int64],
    truth: list[str],
    guesses: list[str],
    correct: BoolArray,
    split_scores: SplitScores,
) -> AttributePredictions:
    return AttributePredictions(
        name=name,
        rows=rows,
        truth=truth,
        guesses=guesses,
        correct=correct,
        confidence=split_scores.scores[name][rows].max(axis=1),
        uncalibrated=split_scores.raw[name][rows].max(axis=1),
        is_product=split_scores.is_product[rows],
        threshold=bundle.calibration[name].threshold,
        target_precision=bundle.calibration[name].precision,
    )


def _of_tier(predictions: Sequence[AttributePredictions], chosen: BoolArray) -> dict[str, Any]:
    kept = {each.name: each.correct[chosen[each.rows]] for each in predictions}
    accuracy = {name: float(correct.mean()) for name, correct in kept.items() if len(correct)}
    return {"rows": int(chosen.sum()), "accuracy": accuracy}


def hierarchy(bundle: Bundle, scores: Scores) -> dict[str, float]:
    """Shares of images whose answered levels are consistent with the tree, and whose best guesses are.

    Empty if the taxonomy has no tree.
    """
    levels = bundle.taxonomy.levels
    if not levels:
        return {}
    values = {level: bundle.taxonomy.values[level] for level in levels}
    best = {level: [values[level][i] for i in scores[level].argmax(axis=1)] for level in levels}
    is_answered = {level: scores[level].max(axis=1) >= bundle.calibration[level].threshold for level in levels}
    count = len(next(iter(scores.values())))
    answers = [{level: best[level][row] for level in levels if is_answered[level][row]} for row in range(count)]
    guesses = [{level: best[level][row] for level in levels} for row in range(count)]
    return {
        "answers_consistent": float(np.mean([is_consistent(bundle.taxonomy, chain) for chain in answers])),
        "guesses_consistent": float(np.mean([is_consistent(bundle.taxonomy, chain) for chain in guesses])),
        "answered_at_some_level": float(np.mean([bool(chain) for chain in answers])),
    }


def is_consistent(taxonomy: Taxonomy, chain: dict[str, str]) -> bool:
    """Whether the levels in `chain` lie on one path of the tree, without a gap above any of them."""
    levels = taxonomy.levels
    present = [level for level in levels if level in chain]
    if present and present != list(levels[levels.index(present[0]) :]):
        return False
    return all(taxonomy.parents[lower][chain[lower]] == chain[upper] for lower, upper in itertools.pairwise(present))


def evaluate_photos(
    bundle: Bundle, folder: Path, split: str, labels: Path | None = None
) -> tuple[dict[str, Any], EvaluatedSplit]:
    """How often the article type fits a photo's coarse label, and coverage and precision of answered types."""
    photos = load_photo_split(folder, read_photos(folder), split, bundle.taxonomy, bundle.size, labels=labels)
    split_scores = compute_scores(bundle, photos.pixels)
    correct, confidence = label_fits(photos, split_scores.scores)
    values = bundle.taxonomy.values[photos.leaf]
    guesses = [values[i] for i in split_scores.scores[photos.leaf].argmax(axis=1)]
    rows = np.arange(len(photos.photos))
    truth = [photo.label for photo in photos.photos]
    predictions = _attribute_predictions(bundle, photos.leaf, rows, truth, guesses, correct, split_scores)
    coverage, precision = answered(correct, predictions.score, predictions.threshold)
    coverage_without_domain = float((confidence >= predictions.threshold).mean())
    senders = cluster_numbers([photo.sender for photo in photos.photos])
    types = {"type_fits": float(correct.mean()), "coverage": coverage, "precision": precision}
    report = {
        "rows": len(photos.photos),
        **types,
        "taken": float(split_scores.is_product.mean()),
        "lost_as_no_product": 1 - coverage / coverage_without_domain if coverage_without_domain else 0.0,
        "attributes": {photos.leaf: types} | _annotated(bundle, photos, split_scores),
        "ages": _ages(bundle, photos, split_scores),
        "spread": {photos.leaf: asdict(bootstrap_intervals(predictions, senders))},
        "hierarchy": hierarchy(bundle, split_scores.scores),
        "type_fits_by_label": _by_label(photos, correct),
    }
    return report, EvaluatedSplit(photos.pixels, [predictions])


def label_fits(photos: PhotoSplit, scores: Scores) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    """Per photo, whether the best value of the deepest level fits its label, and that value's score; N each."""
    best = scores[photos.leaf].argmax(axis=1)
    return photos.types[np.arange(len(best)), best], scores[photos.leaf].max(axis=1)


def _annotated(bundle: Bundle, photos: PhotoSplit, split_scores: SplitScores) -> dict[str, dict[str, float]]:
    """Per attribute that was labelled by eye: rows, share right, coverage over these rows, and precision of answers."""
    found = {}
    for name, fitting in photos.annotated.items():
        rows = fitting.any(axis=1)
        if not rows.any():
            continue
        scores = split_scores.scores[name]
        best = scores.argmax(axis=1)
        correct = fitting[np.arange(len(best)), best]
        is_answered = _is_answered(bundle, name, split_scores)
        coverage, precision = share(is_answered[rows]), share(correct[rows & is_answered])
        found[name] = {
            "rows": int(rows.sum()),
            "fits": float(correct[rows].mean()),
            "coverage": coverage,
            "precision": precision,
            "answered_of_all": float(is_answered.mean()),
        }
    return found


def _ages(bundle: Bundle, photos: PhotoSplit, split_scores: SplitScores) -> dict[str, dict[str, float]]:
    """For photos of adults' and of children's garments: rows, answered genders, and how many name the right age."""
    if GENDER not in photos.fitting or photos.fitting[GENDER].all():
        return {}
    best = split_scores.scores[GENDER].argmax(axis=1)
    fits = photos.fitting[GENDER][np.arange(len(best)), best]
    is_answered = _is_answered(bundle, GENDER, split_scores)
    is_kids = np.array([photo.is_kids for photo in photos.photos], dtype=bool)
    return {
        age: {
            "rows": int(rows.sum()),
            "answered": share(is_answered[rows]),
            "guess_of_right_age": share(fits[rows]),
            "answers_of_wrong_age": share((is_answered & ~fits)[rows]),
        }
        for age, rows in (("adults", ~is_kids), ("children", is_kids))
        if rows.any()
    }


def _is_answered(bundle: Bundle, name: str, split_scores: SplitScores) -> BoolArray:
    is_sure = split_scores.scores[name].max(axis=1) >= bundle.calibration[name].threshold
    return np.asarray(is_sure & split_scores.is_product)


def share(values: BoolArray) -> float:
    """The share that is true; NaN of none."""
    return float(values.mean()) if len(values) else float("nan")


def _by_label(photos: PhotoSplit, correct: npt.NDArray[np.bool_]) -> dict[str, float]:
    labels = np.array([photo.label for photo in photos.photos])
    return {str(label): float(correct[labels == label].mean()) for label in np.unique(labels)}

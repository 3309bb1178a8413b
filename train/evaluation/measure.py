"""Metrics of one attribute: accuracy, macro-F1, expected calibration error, coverage and precision at a threshold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
BINS = 15


@dataclass(frozen=True)
class Figures:
    """One attribute's metrics on one split, 0..1. `precision` is None if no row is answered.

    `macro_f1` averages over all values in the split, `macro_f1_5` over those with at least five rows. `ece_before` is
    the calibration error of plain softmax, `ece` that of the calibrated scores.
    """

    rows: int
    accuracy: float
    macro_f1: float
    macro_f1_5: float
    ece_before: float
    ece: float
    coverage: float
    precision: float | None


@dataclass(frozen=True)
class AttributePredictions:
    """One attribute's best guesses for the rows that have a label, N entries each.

    `rows` are their indices in the split, `confidence` the calibrated scores of the guesses and `uncalibrated` their
    plain softmax scores. A row is answered if it `is_product` and its confidence is at least `threshold`, which was
    chosen for `target_precision`.
    """

    name: str
    rows: npt.NDArray[np.int64]
    truth: list[str]
    guesses: list[str]
    correct: BoolArray
    confidence: FloatArray
    uncalibrated: FloatArray
    is_product: BoolArray
    threshold: float
    target_precision: float

    @property
    def score(self) -> FloatArray:
        """The scores to compare with a threshold: the confidence, or -1 if the image shows no product."""
        return np.where(self.is_product, self.confidence, -1.0)


def figures(predictions: AttributePredictions) -> Figures:
    """Metrics of one attribute. Accuracy, F1 and ECE use the best guesses of all rows, regardless of the threshold."""
    coverage, precision = answered(predictions.correct, predictions.score, predictions.threshold)
    return Figures(
        rows=len(predictions.correct),
        accuracy=float(predictions.correct.mean()),
        macro_f1=macro_f1(predictions.truth, predictions.guesses, 1),
        macro_f1_5=macro_f1(predictions.truth, predictions.guesses, 5),
        ece_before=expected_calibration_error(predictions.correct, predictions.uncalibrated),
        ece=expected_calibration_error(predictions.correct, predictions.confidence),
        coverage=coverage,
        precision=precision,
    )


def answered(correct: BoolArray, confidence: FloatArray, threshold: float) -> tuple[float, float | None]:
    """Coverage (share of rows at or above the threshold) and precision (share of those that is correct, or None)."""
    is_answered = confidence >= threshold
    return float(is_answered.mean()), float(correct[is_answered].mean()) if is_answered.any() else None


def macro_f1(truth: Sequence[str], guesses: Sequence[str], at_least: int) -> float:
    """Mean F1 over the values with at least `at_least` labelled rows in the split; 0 if there are none."""
    true_count, guess_count = Counter(truth), Counter(guesses)
    hits = Counter(true for true, guess in zip(truth, guesses, strict=True) if true == guess)
    values = [value for value, count in true_count.items() if count >= at_least]
    return float(np.mean([2 * hits[v] / (true_count[v] + guess_count[v]) for v in values])) if values else 0.0


def expected_calibration_error(correct: BoolArray, confidence: FloatArray, bins: int = BINS) -> float:
    """Expected calibration error: |accuracy - mean confidence| averaged over equal-mass bins, weighted by rows.

    Nixon et al., "Measuring Calibration in Deep Learning" (2019), for bins of equal mass.
    """
    parts = equal_mass_bins(confidence, bins)
    gaps = [len(part) * abs(float(correct[part].mean()) - float(confidence[part].mean())) for part in parts]
    return sum(gaps) / len(confidence)


def equal_mass_bins(confidence: FloatArray, bins: int = BINS) -> list[npt.NDArray[np.int64]]:
    """Row indices sorted by confidence and split into bins of nearly equal size; empty bins are dropped."""
    order = np.argsort(confidence, kind="stable")
    return [part for part in np.array_split(order, bins) if len(part)]

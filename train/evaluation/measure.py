"""Figures about scored rows: accuracy, macro-F1, calibration error, and coverage and precision above a threshold."""

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
    """One attribute's figures on one split. `precision` is None where nothing was answered.

    `ece_before` is that of plain softmax, `ece` that of the calibrated scores.
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
    """One attribute's best guesses over the rows that have a label.

    `rows` are their numbers in the split, `confidence` the guesses' calibrated scores and `before` those of plain
    softmax; a row is answered from `threshold` on, if it `is_product`, with `asked` as the precision promised.
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
        """What is compared with thresholds: the confidence, -1 where no product is seen."""
        return np.where(self.is_product, self.confidence, -1.0)


def figures(predictions: AttributePredictions) -> Figures:
    """Accuracy, F1 and ECE are those of the best guess, thresholds ignored; the last two are of answered rows."""
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
    """Share of rows at or above the threshold, and the share of those that are correct (None: no row)."""
    is_answered = confidence >= threshold
    return float(is_answered.mean()), float(correct[is_answered].mean()) if is_answered.any() else None


def macro_f1(truth: Sequence[str], guesses: Sequence[str], at_least: int) -> float:
    """Mean F1 over the values with at least so many true rows here; 0 where there is no such value."""
    true_count, guess_count = Counter(truth), Counter(guesses)
    hits = Counter(true for true, guess in zip(truth, guesses, strict=True) if true == guess)
    values = [value for value, count in true_count.items() if count >= at_least]
    return float(np.mean([2 * hits[v] / (true_count[v] + guess_count[v]) for v in values])) if values else 0.0


def expected_calibration_error(correct: BoolArray, confidence: FloatArray, bins: int = BINS) -> float:
    """Mean distance between confidence and accuracy over bins of equal mass, weighted by their rows."""
    parts = equal_mass_bins(confidence, bins)
    gaps = [len(part) * abs(float(correct[part].mean()) - float(confidence[part].mean())) for part in parts]
    return sum(gaps) / len(confidence)


def equal_mass_bins(confidence: FloatArray, bins: int = BINS) -> list[npt.NDArray[np.int64]]:
    """The rows' numbers by rising confidence, cut into bins as equal as can be; empty ones are left out."""
    order = np.argsort(confidence, kind="stable")
    return [part for part in np.array_split(order, bins) if len(part)]

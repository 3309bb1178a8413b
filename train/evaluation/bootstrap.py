"""Confidence intervals of a split's metrics, from a cluster bootstrap over product groups.

Rows of one product group tend to be right or wrong together, so groups are resampled, not rows. Two thousand rows are
some nine hundred groups; one mislabelled group of fifty rows moves a metric as much as fifty independent rows would,
which intervals by row do not show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from train.evaluation.calibrate import Clusters, clopper_pearson_upper
from train.evaluation.measure import (
    BINS,
    AttributePredictions,
    FloatArray,
    equal_mass_bins,
)

DRAWS = 2000


@dataclass(frozen=True)
class GroupIntervals:
    """One attribute's metrics by product group (for photos: by sender).

    `accuracy` and `ece` are 95 % bootstrap intervals (low, high). `accuracy_alike` and `ece_alike` give every group the
    same weight. `precision_upper` is the 95 % Clopper-Pearson upper bound on the precision of answered rows, None if no
    row is answered. A bound below the target precision suggests that the target is missed; it is no proof, since the
    bound assumes independent rows. ECE intervals are biased upwards: resampling adds noise, and noise can only
    increase the ECE.
    """

    groups: int
    accuracy: tuple[float, float]
    accuracy_alike: float
    ece: tuple[float, float]
    ece_alike: float
    precision_upper: float | None


def bootstrap_intervals(predictions: AttributePredictions, clusters: Clusters) -> GroupIntervals:
    """Bootstrap intervals of one attribute; `clusters` are the N group numbers of its rows."""
    groups = np.unique(clusters, return_inverse=True)[1]
    count = int(groups.max()) + 1
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=DRAWS).astype(np.float64)
    alike = (1 / np.bincount(groups))[None, :]
    hits, rows, gaps = _sums(predictions, groups, count)
    accuracy, error = _figures(drawn, hits, rows, gaps)
    accuracy_alike, error_alike = _figures(alike, hits, rows, gaps)
    is_answered = predictions.score >= predictions.threshold
    answered, correct = int(is_answered.sum()), int(predictions.correct[is_answered].sum())
    return GroupIntervals(
        groups=count,
        accuracy=_interval(accuracy),
        accuracy_alike=float(accuracy_alike[0]),
        ece=_interval(error),
        ece_alike=float(error_alike[0]),
        precision_upper=clopper_pearson_upper(correct, answered) if answered else None,
    )


def _sums(
    predictions: AttributePredictions, groups: npt.NDArray[np.int64], count: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Per group: correct rows, rows, and per calibration bin (groups x bins) the sum of correct minus confidence."""
    bins = np.empty(len(groups), dtype=np.int64)
    for number, part in enumerate(equal_mass_bins(predictions.confidence)):
        bins[part] = number
    places = groups * BINS + bins
    gaps = np.bincount(places, weights=predictions.correct - predictions.confidence, minlength=count * BINS)
    return (
        np.bincount(groups, weights=predictions.correct),
        np.bincount(groups).astype(np.float64),
        gaps.reshape(count, BINS),
    )


def _figures(
    weights: FloatArray, hits: FloatArray, rows: FloatArray, gaps: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Accuracy and calibration error per row of `weights` (draws x groups); bins are those of the whole split."""
    total = weights @ rows
    return weights @ hits / total, np.abs(weights @ gaps).sum(axis=1) / total


def _interval(values: FloatArray) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)

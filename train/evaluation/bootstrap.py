"""How far a split's figures can be trusted: rows of one product group fail together, so groups are what is drawn again.

Two thousand rows are some nine hundred groups, and one group of fifty whose label is another than the network's weighs
as much as fifty rows that have nothing to do with each other. Intervals by row would hide that.
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
    """One attribute's figures by product group (of photos: by sender).

    Intervals are (low, high) of 95 %, from a bootstrap over groups; `accuracy_alike` and `ece_alike` let every group
    weigh the same. `precision_upper` is the 95 % Clopper-Pearson upper bound of the answered rows' precision (None:
    no row is answered): below the precision asked for it is a sign of a broken promise, though no proof, since it takes
    rows as independent. Intervals of the ECE lie somewhat high: drawing again adds noise, and noise can only add to it.
    """

    groups: int
    accuracy: tuple[float, float]
    accuracy_alike: float
    ece: tuple[float, float]
    ece_alike: float
    precision_upper: float | None


def bootstrap_intervals(predictions: AttributePredictions, clusters: Clusters) -> GroupIntervals:
    """`clusters` are the groups' numbers of the predictions rows, N."""
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
    """Per group: correct rows, rows, and (groups x bins) by how much the confidence of its rows is too low in sum."""
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
    """Accuracy and calibration error (in the bins of the whole split) per row of `weights`, draws x groups."""
    total = weights @ rows
    return weights @ hits / total, np.abs(weights @ gaps).sum(axis=1) / total


def _interval(values: FloatArray) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)

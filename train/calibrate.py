"""Calibration on val: one temperature per head, and the lowest threshold that keeps the precision asked for.

A plain threshold misses the promised precision on new data, so it is the Clopper-Pearson lower bound that has to
reach it. The tree's thresholds never fall below .5, and articleType's never below those above it: a score is never
smaller than that of a type below it, so an answered type always comes with its whole chain, and no contradiction.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from model.bundle import ALWAYS_ABSTAIN, Calibration
from model.taxonomy import TREE_LEVELS
from train.loss import UNKNOWN
from train.measure import Bools, Floats

PRECISION = {
    "gender": 0.95,
    "usage": 0.95,
    "subCategory": 0.95,
    "masterCategory": 0.95,
    "articleType": 0.90,
    "baseColour": 0.80,
    "season": 0.80,
}
DEFAULT_PRECISION = 0.90
TREE_FLOOR = 0.5001
CANDIDATES = 60
PHOTO_FACTORS = np.geomspace(1.0, 10.0, 116)
RISK = 0.05


def fit_temperature(logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int64]) -> float:
    """The temperature, .2 to 5, of the smallest mean negative log-likelihood over the labelled rows."""
    known = targets != UNKNOWN
    if not known.any():
        return 1.0
    rows, labels = logits[known].astype(np.float64), targets[known]
    low, high = math.log(0.2), math.log(5.0)
    for _ in range(40):  # the loss has one minimum in log T: ternary search
        left, right = low + (high - low) / 3, high - (high - low) / 3
        if _likelihood_loss(rows, labels, math.exp(left)) < _likelihood_loss(rows, labels, math.exp(right)):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


def _likelihood_loss(logits: Floats, labels: npt.NDArray[np.int64], temperature: float) -> float:
    scaled = logits / temperature
    peak = scaled.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(scaled - peak).sum(axis=1)) + peak[:, 0]
    return float((log_sum - scaled[np.arange(len(labels)), labels]).mean())


def fit_photo_factor(logits: npt.NDArray[np.float32], is_photo: Floats, allowed: Bools, temperature: float) -> float:
    """How much higher temperatures have to be on own photos, 1 to 10: the best partial-label likelihood on val.

    `logits` are articleType's and `allowed` what fits (N x types); `is_photo` is the chance that a row is a photo (N).
    """
    told = allowed.any(axis=1) & ~allowed.all(axis=1)
    if not told.any():
        return 1.0
    losses = {}
    for factor in PHOTO_FACTORS:
        scaled = logits[told].astype(np.float64) / (temperature * factor ** is_photo[told, None])
        chances = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        fitting = (chances * allowed[told]).sum(axis=1) / chances.sum(axis=1)
        losses[float(factor)] = float(-np.log(fitting + 1e-12).mean())
    return min(losses, key=lambda factor: losses[factor])


def lower_bound(right: int, rows: int, risk: float = RISK) -> float:
    """Clopper-Pearson: the share that `right` of `rows` leaves too unlikely to be undercut (one-sided, at `risk`).

    Clopper and Pearson, Biometrika 26 (1934): the p at which `right` or more hits have probability `risk`.
    """
    if right == 0:
        return 0.0
    hits = np.arange(right, rows + 1)
    log_choose = math.lgamma(rows + 1) - _LGAMMA(hits + 1) - _LGAMMA(rows - hits + 1)
    low, high = 0.0, right / rows
    for _ in range(40):
        middle = (low + high) / 2
        chance = np.exp(log_choose + hits * math.log(middle) + (rows - hits) * math.log1p(-middle)).sum()
        low, high = (middle, high) if chance < risk else (low, middle)
    return low


_LGAMMA = np.vectorize(math.lgamma, otypes=[np.float64])


def design_effect(right: Bools, clusters: npt.NDArray[np.int64]) -> float:
    """How much less the rows tell than as many independent ones, at least 1: products in a group fail together.

    Korn and Graubard, Survey Methodology 24 (1998): Clopper-Pearson on rows divided by this.
    """
    share = float(right.mean())
    if share in (0.0, 1.0):
        return 1.0
    sums = np.bincount(clusters, weights=right - share)
    return max(1.0, float((sums**2).sum()) / (len(right) * share * (1 - share)))


def choose_threshold(
    right: Bools, confidence: Floats, clusters: npt.NDArray[np.int64], precision: float, floor: float = 0.0
) -> float:
    """The lowest threshold, of 60 quantiles above `floor`, whose bound reaches `precision`; 1.01 where none does."""
    eligible = np.sort(confidence[confidence >= floor])
    if len(eligible) == 0:
        return ALWAYS_ABSTAIN
    spots = np.unique(np.linspace(0, len(eligible) - 1, CANDIDATES).astype(int))
    for threshold in [floor, *eligible[spots]]:
        kept = confidence >= threshold
        if kept.any() and safe_share(right[kept], clusters[kept]) >= precision:
            return min(1.0, math.ceil(float(threshold) * 10_000) / 10_000)
    return ALWAYS_ABSTAIN


def safe_share(right: Bools, clusters: npt.NDArray[np.int64]) -> float:
    """The lower bound on the share of right rows, for rows that are not independent of one another."""
    effect = design_effect(right, clusters)
    rows = max(1, int(len(right) / effect))
    return lower_bound(min(rows, int(right.sum() / effect)), rows)


def precision_asked(name: str) -> float:
    return PRECISION.get(name, DEFAULT_PRECISION)


def floor_of(name: str) -> float:
    """The least threshold: above one half in the tree, so that no two values of a level can both clear it."""
    return TREE_FLOOR if name in TREE_LEVELS else 0.0


def order_tree(calibration: Mapping[str, Calibration]) -> dict[str, Calibration]:
    """Raise each level's threshold to those above it: no level is answered without the ones above."""
    ordered = dict(calibration)
    for lower, upper in _upwards(TREE_LEVELS):
        row, above = ordered[lower], ordered[upper].threshold
        if row.threshold < above:
            ordered[lower] = Calibration(row.temperature, above, row.precision)
    return ordered


def _upwards(levels: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of (lower, upper), from the top of the tree down."""
    return list(itertools.pairwise(levels))[::-1]

"""Calibration on val: what makes a score mean what it says, and the lowest threshold that keeps a precision.

Rows of one product group fail together, and a few groups have a hundred rows each; so a row counts by the inverse
square root of its group's size, and bounds are those of as many independent rows as the groups are worth.

A plain threshold misses the promised precision on new data, so it is the Clopper-Pearson lower bound that has to
reach it. The tree's thresholds never fall below .5, and the deepest level's never below those above it: a score is
never smaller than that of a value below it, so an answered type always comes with its whole chain, and no
contradiction.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from model.bundle import ALWAYS_ABSTAIN, Calibration
from train.data.loss import UNKNOWN
from train.evaluation.measure import BoolArray, FloatArray

DEFAULT_PRECISION = 0.90
TREE_FLOOR = 0.5001
CANDIDATES = 300
PHOTO_FACTORS = np.geomspace(1.0, 10.0, 116)
RISK = 0.05
PRIOR = 1e-3
"""Pulls temperature and softness to 1 where the rows say nothing: a head that is correct on all of them, for one."""

Clusters = npt.NDArray[np.int64]


def cluster_numbers(names: Sequence[str]) -> Clusters:
    """Names of groups or senders as numbers from 0."""
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)


def row_weights(clusters: Clusters) -> FloatArray:
    """How much each row counts, N: one over the root of its cluster's rows, so that no group decides alone."""
    return np.asarray(np.bincount(clusters)[clusters] ** -0.5, dtype=np.float64)


def fit_temperature(logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int64], clusters: Clusters) -> Calibration:
    """Temperature and softness whose best scores tell best whether the best guess is correct (no threshold yet).

    The loss is the log loss of that one yes or no: the score of the best guess is what thresholds and callers use.
    """
    known = targets != UNKNOWN
    if not known.any():
        return Calibration(1.0, ALWAYS_ABSTAIN, DEFAULT_PRECISION)
    rows = torch.from_numpy(logits[known]).double()
    correct = rows.argmax(dim=1) == torch.from_numpy(targets[known])
    weights = torch.from_numpy(row_weights(clusters[known]))
    logs = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logs], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        best = _best_scores(rows, logs).clamp(1e-6, 1 - 1e-6)
        losses = -torch.where(correct, best.log(), (1 - best).log())
        total = (weights * losses).sum() / weights.sum() + PRIOR * logs.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)
    temperature, softness = logs.detach().clamp(math.log(0.2), math.log(5)).exp().tolist()
    return Calibration(temperature, ALWAYS_ABSTAIN, DEFAULT_PRECISION, softness)


def _best_scores(logits: torch.Tensor, logs: torch.Tensor) -> torch.Tensor:
    """N best scores under the logarithms of a temperature and a softness, as `model.scoring` computes them."""
    scaled = logits / logs[0].exp()
    unsure = 1 - scaled.softmax(dim=1).amax(dim=1, keepdim=True)
    return (scaled / (logs[1] * unsure).exp()).softmax(dim=1).amax(dim=1)


def fit_photo_factor(
    logits: npt.NDArray[np.float32], is_photo: FloatArray, allowed: BoolArray, head: Calibration
) -> float:
    """How much higher temperatures have to be on own photos, 1 to 10: the best partial-label likelihood on val.

    `logits` are the deepest level's and `allowed` what fits (N x values); `is_photo` is the chance that a row is a
    photo (N).
    """
    told = allowed.any(axis=1) & ~allowed.all(axis=1)
    if not told.any():
        return 1.0
    losses = {}
    for factor in PHOTO_FACTORS:
        scaled = logits[told].astype(np.float64) / (head.temperature * factor ** is_photo[told, None])
        chances = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        fitting = (chances * allowed[told]).sum(axis=1) / chances.sum(axis=1)
        losses[float(factor)] = float(-np.log(fitting + 1e-12).mean())
    return min(losses, key=lambda factor: losses[factor])


def clopper_pearson_lower(correct: int, rows: int, risk: float = RISK) -> float:
    """Clopper-Pearson: the share that `correct` of `rows` leaves too unlikely to be undercut (one-sided, at `risk`).

    Clopper and Pearson, Biometrika 26 (1934): the p at which `correct` or more hits have probability `risk`.
    """
    if correct == 0:
        return 0.0
    hits = np.arange(correct, rows + 1)
    log_choose = math.lgamma(rows + 1) - _LGAMMA(hits + 1) - _LGAMMA(rows - hits + 1)
    low, high = 0.0, correct / rows
    for _ in range(40):
        middle = (low + high) / 2
        chance = np.exp(log_choose + hits * math.log(middle) + (rows - hits) * math.log1p(-middle)).sum()
        low, high = (middle, high) if chance < risk else (low, middle)
    return low


def clopper_pearson_upper(correct: int, rows: int, risk: float = RISK) -> float:
    """The success rate that `correct` of `rows` leaves too unlikely to be exceeded (one-sided, at `risk`)."""
    return 1 - clopper_pearson_lower(rows - correct, rows, risk)


_LGAMMA = np.vectorize(math.lgamma, otypes=[np.float64])


def effective_rows(correct: BoolArray, weights: FloatArray, clusters: Clusters) -> float:
    """How many independent rows the given ones are worth: rows of a cluster fail together, weights waste some.

    Korn and Graubard, Survey Methodology 24 (1998): p (1 - p) over the variance of the weighted share p.
    """
    total = float(weights.sum())
    of_weights = total**2 / float((weights**2).sum())
    share = float((weights * correct).sum()) / total
    if share in (0.0, 1.0):
        return of_weights
    sums = np.bincount(clusters, weights=weights * (correct - share))
    variance = float((sums**2).sum()) / total**2
    return min(of_weights, share * (1 - share) / variance) if variance > 0 else of_weights


def precision_lower_bound(correct: BoolArray, clusters: Clusters) -> float:
    """The lower bound on the share of correct rows, for rows that are not independent of one another.

    The smaller of two: with groups weighing alike by the root of their rows, and with every row weighing the same.
    """
    return min(
        _weighted_lower_bound(correct, weights, clusters) for weights in (row_weights(clusters), np.ones(len(correct)))
    )


def _weighted_lower_bound(correct: BoolArray, weights: FloatArray, clusters: Clusters) -> float:
    rows = max(1, int(effective_rows(correct, weights, clusters)))
    share = float((weights * correct).sum() / weights.sum())
    return clopper_pearson_lower(min(rows, int(share * rows + 1e-9)), rows)


def choose_threshold(
    correct: BoolArray, confidence: FloatArray, clusters: Clusters, precision: float, floor: float = 0.0
) -> float:
    """The lowest threshold, of 300 quantiles above `floor`, whose bound reaches `precision`; 1.01 where none does."""
    eligible = np.sort(confidence[confidence >= floor])
    if len(eligible) == 0:
        return ALWAYS_ABSTAIN
    spots = np.unique(np.linspace(0, len(eligible) - 1, CANDIDATES).astype(int))
    for threshold in [floor, *eligible[spots]]:
        kept = confidence >= threshold
        if kept.any() and precision_lower_bound(correct[kept], clusters[kept]) >= precision:
            return min(1.0, math.ceil(float(threshold) * 10_000) / 10_000)
    return ALWAYS_ABSTAIN


def threshold_floor(name: str, levels: Sequence[str]) -> float:
    """The least threshold: above one half in the tree, so that no two values of a level can both clear it."""
    return TREE_FLOOR if name in levels else 0.0


def order_tree_thresholds(calibration: Mapping[str, Calibration], levels: Sequence[str]) -> dict[str, Calibration]:
    """Raise each level's threshold to those above it: no level is answered without the ones above."""
    ordered = dict(calibration)
    for lower, upper in list(itertools.pairwise(levels))[::-1]:
        above = ordered[upper].threshold
        if ordered[lower].threshold < above:
            ordered[lower] = replace(ordered[lower], threshold=above)
    return ordered

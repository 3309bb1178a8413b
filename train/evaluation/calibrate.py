"""Calibration on `val`: temperature and softness per head, and the lowest threshold that keeps a target precision.

Rows of one product group tend to be right or wrong together, and a few groups have a hundred rows each. So each row is
weighted by the inverse square root of its group's size, and bounds use the effective number of independent rows.

A threshold whose observed precision just reaches the target misses it on new data, so the Clopper-Pearson lower bound
has to reach it. Thresholds of tree levels are at least .5, and a level's threshold is at least that of the level above.
Since a value's score is never larger than its parent's, an answered article type always comes with its answered, and
consistent, parents.
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
"""Weight of the penalty that keeps temperature and softness at 1 if the rows do not determine them, for example
because a head is right on all of them."""

Clusters = npt.NDArray[np.int64]


def cluster_numbers(names: Sequence[str]) -> Clusters:
    """Names of groups or senders to numbers from 0, N."""
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)


def row_weights(clusters: Clusters) -> FloatArray:
    """Each row's weight, N: one over the square root of its cluster's size, so that no group dominates."""
    return np.asarray(np.bincount(clusters)[clusters] ** -0.5, dtype=np.float64)


def fit_temperature(logits: npt.NDArray[np.float32], targets: npt.NDArray[np.int64], clusters: Clusters) -> Calibration:
    """Fit temperature and softness of one head; the threshold is set to always abstain.

    The loss is the binary log loss of "the best guess is correct" under the best guess's score, because that score is
    what thresholds and callers use.
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
    """N best scores, computed as in `model.scoring`; `logs` are the logarithms of temperature and softness."""
    scaled = logits / logs[0].exp()
    unsure = 1 - scaled.softmax(dim=1).amax(dim=1, keepdim=True)
    return (scaled / (logs[1] * unsure).exp()).softmax(dim=1).amax(dim=1)


def fit_photo_factor(
    logits: npt.NDArray[np.float32], is_photo: FloatArray, allowed: BoolArray, head: Calibration
) -> float:
    """The factor on temperatures for customer photos, 1 to 10, that maximises the partial-label likelihood.

    `logits` are those of the deepest level (N x values), `allowed` the values that fit each photo's label (N x values),
    `is_photo` the photo head's probability (N), and `head` the deepest level's calibration.
    """
    is_informative = allowed.any(axis=1) & ~allowed.all(axis=1)
    if not is_informative.any():
        return 1.0
    losses = {}
    for factor in PHOTO_FACTORS:
        temperatures = head.temperature * factor ** is_photo[is_informative, None]
        scaled = logits[is_informative].astype(np.float64) / temperatures
        chances = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        fitting = (chances * allowed[is_informative]).sum(axis=1) / chances.sum(axis=1)
        losses[float(factor)] = float(-np.log(fitting + 1e-12).mean())
    return min(losses, key=lambda factor: losses[factor])


def clopper_pearson_lower(correct: int, rows: int, risk: float = RISK) -> float:
    """One-sided lower confidence bound on a success rate, at confidence 1 - `risk`.

    Clopper and Pearson, Biometrika 26 (1934): the rate at which `correct` or more of `rows` have probability `risk`.
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
    """One-sided upper confidence bound on a success rate, at confidence 1 - `risk`."""
    return 1 - clopper_pearson_lower(rows - correct, rows, risk)


_LGAMMA = np.vectorize(math.lgamma, otypes=[np.float64])


def effective_rows(correct: BoolArray, weights: FloatArray, clusters: Clusters) -> float:
    """Effective sample size: the number of independent rows with the same variance of the weighted share correct.

    It is smaller than N because rows of a cluster are correlated and weights are unequal. Korn and Graubard, Survey
    Methodology 24 (1998): p (1 - p) over the variance of the weighted share p.
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
    """Lower confidence bound on the share of correct rows, for rows that are correlated within clusters.

    The smaller of two bounds: with rows weighted by `row_weights`, and with equal weights.
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
    """The lowest threshold whose precision bound reaches `precision`, or 1.01 (always abstain) if none does.

    Candidates are `floor` and up to 300 quantiles of the confidences at or above it.
    """
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
    """The lowest threshold allowed: above .5 for tree levels, so that at most one value of a level can exceed it."""
    return TREE_FLOOR if name in levels else 0.0


def order_tree_thresholds(calibration: Mapping[str, Calibration], levels: Sequence[str]) -> dict[str, Calibration]:
    """Raise each level's threshold to at least its parent level's, so that no level is answered without its parents."""
    ordered = dict(calibration)
    for lower, upper in list(itertools.pairwise(levels))[::-1]:
        above = ordered[upper].threshold
        if ordered[lower].threshold < above:
            ordered[lower] = replace(ordered[lower], threshold=above)
    return ordered

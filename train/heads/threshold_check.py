"""What each threshold gives on the rows that it was chosen on, and why an attribute is never answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model.bundle import ALWAYS_ABSTAIN, Calibration
from train.data.loss import UNKNOWN
from train.evaluation.calibrate import CANDIDATES, RISK, Clusters, precision_lower_bound
from train.evaluation.measure import BoolArray, FloatArray

MIN_ANSWERED = 0.3
"""Smallest share answered for which a lower target precision is suggested."""


@dataclass(frozen=True)
class ThresholdCheck:
    """One attribute's threshold on the labelled rows that it was chosen on.

    `rows` are labelled, from `groups` products. `answered` is the share at or above the threshold, `precision` the
    share of those that is correct and `bound` its 95 % lower bound, both None if nothing is answered. `accuracy` is
    that of all best guesses. `reason` tells why the attribute is never answered and what to do; "" if it is answered.
    """

    rows: int
    groups: int
    accuracy: float
    target: float
    threshold: float
    answered: float
    precision: float | None
    bound: float | None
    reason: str = ""


def describe_thresholds(
    calibration: Mapping[str, Calibration],
    targets: Mapping[str, npt.NDArray[np.int64]],
    scores: Mapping[str, FloatArray],
    groups: Clusters,
) -> dict[str, ThresholdCheck]:
    """One check per attribute; `scores` are calibrated, N x values, `groups` N."""
    found = {}
    for name, row in calibration.items():
        known = targets[name] != UNKNOWN
        correct = np.asarray(scores[name][known].argmax(axis=1) == targets[name][known])
        confidence = scores[name][known].max(axis=1) if known.any() else np.zeros(0)
        found[name] = _check(row, correct, confidence, groups[known])
    return found


def _check(row: Calibration, correct: BoolArray, confidence: FloatArray, groups: Clusters) -> ThresholdCheck:
    kept = confidence >= row.threshold
    return ThresholdCheck(
        rows=len(correct),
        groups=len(np.unique(groups)),
        accuracy=float(correct.mean()) if len(correct) else 0.0,
        target=row.precision,
        threshold=row.threshold,
        answered=float(kept.mean()) if len(correct) else 0.0,
        precision=float(correct[kept].mean()) if kept.any() else None,
        bound=precision_lower_bound(correct[kept], groups[kept]) if kept.any() else None,
        reason=_reason(row, correct, confidence, groups) if row.threshold >= ALWAYS_ABSTAIN else "",
    )


def rows_needed(precision: float) -> int:
    """The fewest independent rows whose 95 % lower bound reaches `precision` if all of them are correct."""
    return int(np.ceil(np.log(RISK) / np.log(precision) - 1e-9)) if 0 < precision < 1 else 1


def _reason(row: Calibration, correct: BoolArray, confidence: FloatArray, groups: Clusters) -> str:
    needed, products = rows_needed(row.precision), len(np.unique(groups))
    if len(correct) == 0:
        return "no validation row has a label that the taxonomy knows; label some, or correct the column's values"
    if products < needed:
        return (
            f"too few rows: {len(correct)} labelled rows of {products} products were left to choose a threshold on; a "
            f"precision of {row.precision:.2f} takes {needed} products even if every guess is right. Label more rows"
        )
    share, precision, bound = _best_bound(correct, confidence, groups)
    text = (
        f"too often wrong: {correct.mean():.2f} of {len(correct)} best guesses are right, and no threshold keeps a "
        f"precision of {row.precision:.2f} (the nearest answers {share:.0%} with a precision of {precision:.2f}, whose "
        f"95 % lower bound is {bound:.2f}). Label more rows, above all of rare values, or merge values that look alike"
    )
    lower = _reachable(correct, confidence, groups, row.precision)
    return text + (f"; a target of {lower:.2f} under [precisions] would be kept" if lower else "")


def _best_bound(correct: BoolArray, confidence: FloatArray, groups: Clusters) -> tuple[float, float, float]:
    """Share answered, precision and its lower bound at the threshold with the highest bound."""
    return max(_curve(correct, confidence, groups), key=lambda point: point[2])


def _reachable(correct: BoolArray, confidence: FloatArray, groups: Clusters, target: float) -> float | None:
    """The highest multiple of .05 below the target that at least MIN_ANSWERED of the rows keep; None below .5."""
    bounds = [bound for share, _, bound in _curve(correct, confidence, groups) if share >= MIN_ANSWERED]
    lower = np.floor(min(max(bounds, default=0.0), target - 1e-9) * 20) / 20
    return float(lower) if lower >= 0.5 else None


def _curve(correct: BoolArray, confidence: FloatArray, groups: Clusters) -> list[tuple[float, float, float]]:
    ordered = np.sort(confidence)
    thresholds = ordered[np.unique(np.linspace(0, len(ordered) - 1, CANDIDATES // 6).astype(int))]
    kept = [confidence >= threshold for threshold in thresholds]
    return [(float(k.mean()), float(correct[k].mean()), precision_lower_bound(correct[k], groups[k])) for k in kept]


def warnings(checks: Mapping[str, ThresholdCheck]) -> list[str]:
    """The sentences to print and to put into the card: attributes that are never answered, and why."""
    silent = {name: check.reason for name, check in checks.items() if check.reason}
    lines = [f"{name} will never be answered: {reason}." for name, reason in silent.items()]
    if silent and len(silent) == len(checks):
        lines.insert(0, "This bundle will answer nothing: no attribute reaches the precision asked for.")
    return lines


def to_json(checks: Mapping[str, ThresholdCheck]) -> dict[str, dict[str, Any]]:
    """The checks as a bundle carries them."""
    return {name: asdict(check) for name, check in checks.items()}


def from_json(data: Mapping[str, Mapping[str, Any]]) -> dict[str, ThresholdCheck]:
    """The checks that a bundle carries; empty for bundles of older releases."""
    return {name: ThresholdCheck(**row) for name, row in data.items()}


def format_warnings(lines: Sequence[str]) -> str:
    """The warnings as a block that stands out in a terminal; "" without any."""
    return "\n".join(["", "!" * 78, *[f"WARNING: {line}" for line in lines], "!" * 78, ""]) if lines else ""

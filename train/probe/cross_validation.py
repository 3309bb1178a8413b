"""Heads with held-out logits: each row is scored by heads that saw neither its product nor a twin of its image.

A table of 300 rows leaves fifteen for validation, on which no threshold can be chosen. So its training and validation
rows are divided into folds by product, each fold is scored by heads that were fitted on the others, and penalties, the
share of the companion, temperatures and thresholds are chosen on all rows together. The heads that are served are then
fitted on all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from model.nets.network import mix_logits
from model.taxonomy import Taxonomy
from train.data.loss import UNKNOWN
from train.evaluation.calibrate import Clusters
from train.evaluation.inference import Logits
from train.probe.features import Features
from train.probe.logistic import PENALTIES, LinearHead, fit_path

FOLDS = 5
TRAINED_ONLY = -1
"""Fold of the rows that are never held out."""

SEARCH_ROWS = 6000
"""Largest number of rows on which penalties are compared; the chosen one is fitted on all rows."""

SHARES = tuple(round(float(share), 2) for share in np.arange(0.0, 1.01, 0.1))
"""Candidate weights of the companion."""

Folds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Probe:
    """Fitted heads per backbone and attribute, the companion's share, and the logits of the held-out rows.

    `held` (N, bool) marks those rows; `logits` have one row for each of them.
    """

    heads: list[dict[str, LinearHead]]
    share: float
    held: npt.NDArray[np.bool_]
    logits: Logits


def make_folds(groups: Clusters, seed: int, count: int = FOLDS) -> Folds:
    """A fold for each row, N, of nearly equal size, without dividing a group. Raises ValueError for one group only."""
    numbers, sizes = np.unique(groups, return_counts=True)
    if len(numbers) < 2:
        raise ValueError("the table has one product group only; at least two are needed to validate anything")
    shuffled = np.random.default_rng(seed).permutation(len(numbers))
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    totals, fold_of = np.zeros(min(count, len(numbers)), dtype=np.int64), np.zeros(len(numbers), dtype=np.int64)
    for place in order:
        fold_of[place] = totals.argmin()
        totals[fold_of[place]] += sizes[place]
    return np.asarray(fold_of[np.searchsorted(numbers, groups)], dtype=np.int64)


def fit_probe(
    features: Features, targets: Mapping[str, npt.NDArray[np.int64]], folds: Folds, taxonomy: Taxonomy
) -> Probe:
    """Heads for all attributes. Rows of the fold TRAINED_ONLY are used to fit, and never held out."""
    held = folds != TRAINED_ONLY
    heads: list[dict[str, LinearHead]] = []
    logits: list[dict[str, torch.Tensor]] = []
    for copies in features.pooled:
        fitted = {
            name: _fit_head(copies, targets[name], folds, len(values)) for name, values in taxonomy.attributes.items()
        }
        heads.append({name: head for name, (head, _) in fitted.items()})
        logits.append({name: rows[torch.from_numpy(held)] for name, (_, rows) in fitted.items()})
    known = {name: torch.from_numpy(targets[name][held]) for name in taxonomy.attributes}
    share = _best_share(logits, known) if len(logits) > 1 else 0.0
    return Probe(heads, share, held, {name: rows.numpy() for name, rows in _mixed(logits, share).items()})


def _fit_head(
    copies: Sequence[torch.Tensor], targets: npt.NDArray[np.int64], folds: Folds, values: int
) -> tuple[LinearHead, torch.Tensor]:
    """The head with the best penalty, and held-out logits of all rows (0 where a row is never held out)."""
    known = targets != UNKNOWN
    rows = torch.zeros(len(PENALTIES), len(targets), values)
    if not known.any():
        return LinearHead(torch.zeros(values, copies[0].shape[1]), torch.zeros(values)), rows[0]
    numbers = [int(fold) for fold in np.unique(folds[folds != TRAINED_ONLY])]
    for fold in numbers:
        chosen = _thinned(known & (folds != fold))
        if chosen.any():
            out = torch.from_numpy(folds == fold)
            for place, head in enumerate(_fit_rows(copies, targets, chosen, values, PENALTIES)):
                rows[place, out] = head.logits(copies[0][out])
    scored = torch.from_numpy(known & (folds != TRAINED_ONLY))
    best = 0
    if scored.any():
        truth = torch.from_numpy(targets)[scored]
        best = int(torch.stack([functional.cross_entropy(each[scored], truth) for each in rows]).argmin())
    # With several folds every row has been held out once, so the served head may see all of them.
    final = known if len(numbers) > 1 else known & (folds == TRAINED_ONLY)
    path = PENALTIES[: best + 1] if final.sum() <= SEARCH_ROWS else PENALTIES[best : best + 1]
    head = _fit_rows(copies, targets, final, values, path)[-1]
    if len(numbers) == 1:
        out = torch.from_numpy(folds == numbers[0])
        rows[best, out] = head.logits(copies[0][out])
    return head, rows[best]


def _fit_rows(
    copies: Sequence[torch.Tensor],
    targets: npt.NDArray[np.int64],
    chosen: npt.NDArray[np.bool_],
    values: int,
    penalties: Sequence[float],
) -> list[LinearHead]:
    mask = torch.from_numpy(chosen)
    inputs = torch.cat([copy[mask] for copy in copies])
    return fit_path(inputs, torch.from_numpy(targets)[mask].repeat(len(copies)), values, penalties)


def _thinned(chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """At most SEARCH_ROWS of the chosen rows, evenly spaced."""
    places = np.flatnonzero(chosen)
    if len(places) <= SEARCH_ROWS:
        return chosen
    thinned = np.zeros_like(chosen)
    thinned[places[np.linspace(0, len(places) - 1, SEARCH_ROWS).astype(int)]] = True
    return thinned


def _mixed(logits: Sequence[Mapping[str, torch.Tensor]], share: float) -> dict[str, torch.Tensor]:
    if len(logits) == 1:
        return dict(logits[0])
    return {name: mix_logits(rows, logits[1][name], share) for name, rows in logits[0].items()}


def _best_share(logits: Sequence[Mapping[str, torch.Tensor]], targets: Mapping[str, torch.Tensor]) -> float:
    """The companion's share with the least log loss, summed over attributes."""

    def loss(share: float) -> float:
        losses = [
            functional.cross_entropy(rows[targets[name] != UNKNOWN], targets[name][targets[name] != UNKNOWN])
            for name, rows in _mixed(logits, share).items()
            if bool((targets[name] != UNKNOWN).any())
        ]
        return float(torch.stack(losses).sum()) if losses else 0.0

    return min(SHARES, key=loss)

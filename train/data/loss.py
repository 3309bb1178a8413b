"""Losses: masked cross-entropy for catalogue rows, partial-label likelihood for photos with coarse labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

UNKNOWN = -1
"""The target of a row without a label; such rows do not contribute to the loss."""


def masked_cross_entropy(logits: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Mean cross-entropy over the rows that have a label (N x K logits, N targets); 0 if none has one."""
    total = functional.cross_entropy(
        logits.float(), targets, ignore_index=UNKNOWN, label_smoothing=smoothing, reduction="sum"
    )
    return total / (targets != UNKNOWN).sum().clamp(min=1)


def partial_label_loss(logits: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """Mean negative log of the total probability of the allowed values (N x K logits, N x K bool).

    A row that allows all values has loss 0. So has a row that allows none, because its label is unknown to the
    taxonomy. Cour et al., "Learning from Partial Labels" (2011).
    """
    allowed = allowed | ~allowed.any(dim=1, keepdim=True)
    log_probabilities = functional.log_softmax(logits.float(), dim=1)
    return -log_probabilities.masked_fill(~allowed, float("-inf")).logsumexp(dim=1).mean()


def word_loss(logits: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy with a uniform distribution over the words of each row's name (N x W logits, N x W bool).

    Rows without any known word do not contribute.
    """
    counts = present.sum(dim=1)
    log_probabilities = functional.log_softmax(logits.float(), dim=1)
    per_row = -(log_probabilities * present).sum(dim=1) / counts.clamp(min=1)
    return per_row.sum() / (counts > 0).sum().clamp(min=1)


def catalogue_loss(
    logits: Mapping[str, torch.Tensor],
    targets: Mapping[str, torch.Tensor],
    weights: Mapping[str, float],
    smoothing: float,
) -> torch.Tensor:
    """Weighted sum of the masked cross-entropies over all heads with targets."""
    losses = [weights[name] * masked_cross_entropy(logits[name], targets[name], smoothing) for name in targets]
    return torch.stack(losses).sum()


def mean_log_loss(logits: Mapping[str, torch.Tensor], targets: Mapping[str, npt.NDArray[np.int64]]) -> float:
    """Log loss over the rows that have a label, averaged over heads; heads without any such row are ignored."""
    losses = [
        float(functional.cross_entropy(rows.float(), torch.from_numpy(targets[name]), ignore_index=UNKNOWN))
        for name, rows in logits.items()
    ]
    return float(np.nanmean(losses))

"""Multinomial logistic regression on standardised features, with an L2 penalty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

PENALTIES = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5)
"""Candidate weights of the penalty, the strongest first."""

BIAS_PENALTY = 0.01
"""Weight of the penalty on biases relative to that on weights; it bounds the bias of a value without rows."""

STEPS = 60


@dataclass(frozen=True)
class LinearHead:
    """A head on raw features: `weight` is values x features, `bias` has one entry per value."""

    weight: torch.Tensor
    bias: torch.Tensor

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """N x values, for N x features."""
        return inputs @ self.weight.T + self.bias


def fit_path(
    inputs: torch.Tensor, targets: torch.Tensor, values: int, penalties: Sequence[float] = PENALTIES
) -> list[LinearHead]:
    """One head per penalty; each fit starts from the one before it. `inputs` is N x features, `targets` N indices."""
    centre, spread = inputs.mean(dim=0), inputs.std(dim=0, correction=0).clamp(min=1e-3)
    spread = spread * inputs.shape[1] ** 0.5  # so that one penalty suits backbones of any width
    scaled = (inputs - centre) / spread
    weight, bias = torch.zeros(values, inputs.shape[1]), torch.zeros(values)
    found = []
    for penalty in penalties:
        weight, bias = _fit(scaled, targets, weight, bias, penalty)
        own = weight / spread
        found.append(LinearHead(own, bias - own @ centre))
    return found


def _fit(
    inputs: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, penalty: float
) -> tuple[torch.Tensor, torch.Tensor]:
    weight, bias = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe", tolerance_change=1e-6, history_size=10
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        total = functional.cross_entropy(inputs @ weight.T + bias, targets)
        total = total + penalty * (weight.square().sum() + BIAS_PENALTY * bias.square().sum())
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)
    return weight.detach(), bias.detach()

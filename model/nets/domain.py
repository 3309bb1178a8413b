"""Whether a picture shows a product at all: a small head over what every stage of the backbone has seen.

The pooled features alone do not tell: trained on products only, they describe whatever they get as one. The early
stages, which know textures and edges, do.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

HIDDEN = 64
REACH = 8.0
"""Standard deviations beyond which a feature says nothing more."""


def domain_features(pooled: torch.Tensor, maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """Pooled features and the mean and deviation of each stage's channels, N x inputs."""
    parts = [pooled]
    for stage in maps:
        parts += [stage.mean(dim=(2, 3)), stage.std(dim=(2, 3), correction=0)]
    return torch.cat(parts, dim=1).float()


class DomainHead(nn.Module):
    """Maps N x inputs (see `domain_features`) to N logits; a logit above 0 means that the image shows a product."""

    centre: torch.Tensor
    spread: torch.Tensor

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(inputs))
        self.register_buffer("spread", torch.ones(inputs))
        self.hidden = nn.Linear(inputs, HIDDEN)
        self.out = nn.Linear(HIDDEN, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        scaled = ((inputs - self.centre) / self.spread).clamp(-REACH, REACH)
        logits: torch.Tensor = self.out(nn.functional.gelu(self.hidden(scaled)))[:, 0]
        return logits

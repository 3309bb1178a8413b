"""The in_domain head: a small classifier, over features of all backbone stages, of whether an image shows a product.

The final features alone are not enough: trained on products only, they represent any image as a product. The early
stages, which represent edges and textures, separate the two.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

HIDDEN = 64
REACH = 8.0
"""Standardised features are clamped to this many standard deviations."""


def domain_features(pooled: torch.Tensor, maps: Sequence[torch.Tensor]) -> torch.Tensor:
    """The head's inputs, N x inputs: pooled features, and mean and standard deviation of each stage's channels.

    `pooled` is N x features, `maps` are the stages' feature maps, N x channels x h x w each.
    """
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

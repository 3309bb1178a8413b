"""The photo head: a linear classifier of customer photos against catalogue images.

It is fitted after training, on frozen features of unaugmented images, so that it cannot affect the other heads.
Logistic regression on the pooled features is enough, because a studio's white background is easy to recognise.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from model.nets.network import PHOTO_HEAD, AttributeNetwork
from model.preprocessing import Pixels, to_input
from train.data.dataset import Dataset

ROWS = 3000
"""Maximum number of images of each set."""

PENALTY = 1e-3
"""Weight of the L2 penalty."""


def fit_photo_head(network: AttributeNetwork, dataset: Dataset) -> dict[str, torch.Tensor]:
    """Returns the head's weights by their names in the network. Without photos, the head always predicts catalogue."""
    head = nn.Linear(network.features, 1)
    if dataset.train_photos is None:
        nn.init.zeros_(head.weight)
        nn.init.constant_(head.bias, -20.0)
    else:
        _fit(
            head, pooled_features(network, dataset.train.pixels), pooled_features(network, dataset.train_photos.pixels)
        )
    return {f"heads.{PHOTO_HEAD}.{name}": tensor.detach() for name, tensor in head.named_parameters()}


@torch.no_grad()
def pooled_features(network: AttributeNetwork, pixels: Pixels) -> torch.Tensor:
    """Pooled features of up to 3,000 evenly spaced images of the set, N x features."""
    rows = np.unique(np.linspace(0, len(pixels) - 1, min(ROWS, len(pixels))).astype(int))
    batches = [torch.from_numpy(np.array(pixels[part])) for part in np.array_split(rows, -(-len(rows) // 128))]
    device = next(network.parameters()).device
    return torch.cat([network.pool(network.feature_map(to_input(batch.to(device)))).cpu() for batch in batches])


def _fit(head: nn.Linear, catalogue: torch.Tensor, photos: torch.Tensor) -> None:
    """Fit a logistic regression by L-BFGS; both sets have the same total weight."""
    inputs = torch.cat([catalogue, photos])
    targets = torch.cat([torch.zeros(len(catalogue), 1), torch.ones(len(photos), 1)])
    weights = torch.cat([torch.full((len(part), 1), 0.5 / len(part)) for part in (catalogue, photos)])
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        fit = functional.binary_cross_entropy_with_logits(head(inputs), targets, weights, reduction="sum")
        total = fit + PENALTY * head.weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)

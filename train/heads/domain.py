"""The in_domain head, fitted on the finished network: products against pictures that show none.

Non-products are drawn by code (`train.data.nonproducts`); given a folder of them, photographs of anything else count,
too. At 0 the head lets through all but 1 in 100 own photos of val and 1 in 200 of its catalogue pictures.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from model.nets.domain import DomainHead, domain_features
from model.nets.network import AttributeNetwork
from model.preprocessing import Pixels, fit, to_input
from train.data.dataset import Dataset
from train.data.nonproducts import TRAINING_KINDS, draw_kind

PER_KIND, PER_SET = 600, 4000
PENALTY = 1e-3
OTHERS_WEIGHT = 3.0
"""How much photographs of anything else count beside one drawn kind: they are what really gets uploaded."""

LOST_PHOTOS, LOST_CATALOGUE = 0.01, 0.005


def fit_domain(network: AttributeNetwork, dataset: Dataset, others: Path | None) -> dict[str, torch.Tensor]:
    """The head's weights under their names in the network."""
    size = (int(dataset.train.pixels.shape[1]), int(dataset.train.pixels.shape[2]))
    per_kind = max(20, min(PER_KIND, len(dataset.train.pixels) // 8))
    products = [head_inputs(network, dataset.train.pixels)]
    if dataset.train_photos:
        products.append(head_inputs(network, dataset.train_photos.pixels))
    kinds = [draw_kind(kind, per_kind, size, seed) for seed, kind in enumerate(TRAINING_KINDS.values())]
    rest, weights = [head_inputs(network, pixels) for pixels in kinds], [1.0] * len(kinds)
    if others:
        rest.append(head_inputs(network, read_folder(others, size)))
        weights.append(OTHERS_WEIGHT)
    head = DomainHead(products[0].shape[1])
    together = torch.cat(products)
    head.centre, head.spread = together.mean(dim=0), together.std(dim=0).clamp(min=1e-3)
    _fit(head, products, rest, weights)
    with torch.no_grad():
        head.out.bias -= _rejection_logit(head, network, dataset)
    return {f"domain.{name}": tensor.detach() for name, tensor in head.state_dict().items()}


@torch.no_grad()
def _rejection_logit(head: DomainHead, network: AttributeNetwork, dataset: Dataset) -> torch.Tensor:
    """The logit below which pictures are refused, from val."""
    cuts = [head(head_inputs(network, dataset.val.pixels)).quantile(LOST_CATALOGUE)]
    if dataset.val_photos:
        cuts.append(head(head_inputs(network, dataset.val_photos.pixels)).quantile(LOST_PHOTOS))
    return torch.stack(cuts).min()


@torch.no_grad()
def head_inputs(network: AttributeNetwork, pixels: Pixels) -> torch.Tensor:
    """What the head reads of up to 4,000 pictures spread over the set, N x inputs."""
    rows = np.unique(np.linspace(0, len(pixels) - 1, min(PER_SET, len(pixels))).astype(int))
    device = next(network.parameters()).device
    parts = []
    for part in np.array_split(rows, -(-len(rows) // 128)):
        feature_map, maps = network.encode(to_input(torch.from_numpy(np.array(pixels[part])).to(device)), has_maps=True)
        parts.append(domain_features(network.pool(feature_map), maps).cpu())
    return torch.cat(parts)


def read_folder(folder: Path, size: tuple[int, int]) -> Pixels:
    """Up to 4,000 pictures spread over a folder and those below it. Raises ValueError where there are none."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
    if not files:
        raise ValueError(f"{folder.name} has no pictures")
    chosen = np.unique(np.linspace(0, len(files) - 1, min(PER_SET, len(files))).astype(int))
    pictures = []
    for row in chosen:
        with Image.open(files[row]) as image:
            pictures.append(fit(image.convert("RGB"), size))
    return np.stack(pictures)


def _fit(head: DomainHead, products: list[torch.Tensor], rest: list[torch.Tensor], rest_weights: list[float]) -> None:
    """Logistic regression through one hidden layer by L-BFGS; products and the rest weigh the same."""
    torch.manual_seed(0)
    torch.nn.init.xavier_uniform_(head.hidden.weight)
    inputs = torch.cat([*products, *rest])
    targets = torch.cat(
        [torch.full((len(part),), float(i < len(products))) for i, part in enumerate([*products, *rest])]
    )
    shares = [0.5 / len(products)] * len(products) + [0.5 * w / sum(rest_weights) for w in rest_weights]
    rows = zip([*products, *rest], shares, strict=True)
    weights = torch.cat([torch.full((len(part),), share / len(part)) for part, share in rows])
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=120, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        total = functional.binary_cross_entropy_with_logits(head(inputs), targets, weights, reduction="sum")
        total = total + PENALTY * sum(tensor.square().sum() for tensor in head.parameters())
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)

"""Pooled features of a bundle's frozen backbones, computed once for all heads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from model.bundle import Bundle
from model.nets.domain import domain_features
from model.nets.folding import prepare_for_serving
from model.nets.network import AttributeNetwork
from model.preprocessing import Pixels, to_input
from train.data.feature_maps import make_copy

BATCH = 32


@dataclass(frozen=True)
class Features:
    """Features of N images.

    `pooled` has one list per backbone (the companion's is last) with N x features per copy of the images: as served,
    then mirrored. `domain` are the in_domain logits of the served copy, N; None if the bundle has no such head.
    """

    pooled: list[list[torch.Tensor]]
    domain: npt.NDArray[np.float32] | None

    def rows(self, chosen: npt.NDArray[np.bool_]) -> list[list[torch.Tensor]]:
        """The pooled features of the chosen images."""
        mask = torch.from_numpy(chosen)
        return [[copy[mask] for copy in copies] for copies in self.pooled]


def extract(bundle: Bundle, pixels: Pixels, copies: int) -> Features:
    """Features of all images (N x height x width x 3, at the bundle's size), in `copies` versions."""
    network = prepare_for_serving(bundle.network(), bundle.size)
    random = torch.Generator().manual_seed(0)
    pooled: list[list[torch.Tensor]] = [[] for _ in (network, network.companion) if _ is not None]
    domain: list[torch.Tensor] = []
    for copy in range(copies):
        parts: list[list[torch.Tensor]] = [[] for _ in pooled]
        firsts = range(0, len(pixels), BATCH)
        for first in tqdm(firsts, desc=f"features, copy {copy + 1} of {copies}", leave=False, disable=len(firsts) < 4):
            batch = make_copy(torch.from_numpy(np.array(pixels[first : first + BATCH])), copy, random)
            found, logits = _of_batch(network, to_input(batch, bundle.mean, bundle.std))
            for part, each in zip(parts, found, strict=True):
                part.append(each)
            if copy == 0 and logits is not None:
                domain.append(logits)
        for kept, part in zip(pooled, parts, strict=True):
            kept.append(torch.cat(part))
    return Features(pooled, torch.cat(domain).numpy() if domain else None)


@torch.no_grad()
def _of_batch(network: AttributeNetwork, images: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor | None]:
    feature_map, maps = network.encode(images)
    pooled = network.pool(feature_map)
    domain = None if network.domain is None else network.domain(domain_features(pooled, maps)).float()
    other = network.companion
    return [pooled.float(), *([other.pool(other.feature_map(images)).float()] if other is not None else [])], domain

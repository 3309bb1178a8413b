"""Batched inference over the images of a split, used by validation, calibration and evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.bundle import Bundle, Calibration
from model.nets.network import DOMAIN, AttributeNetwork
from model.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Pixels, to_input
from model.scoring import scores_from
from model.taxonomy import Taxonomy

Logits = dict[str, npt.NDArray[np.float32]]


@torch.no_grad()
def compute_logits(
    network: AttributeNetwork,
    pixels: Pixels,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    batch_size: int = 128,
) -> Logits:
    """Logits per head, N x values, float32; runs on the network's device."""
    device = next(network.parameters()).device
    parts: list[dict[str, torch.Tensor]] = []
    for first in range(0, len(pixels), batch_size):
        batch = torch.from_numpy(np.array(pixels[first : first + batch_size])).to(device)
        parts.append({name: values.float().cpu() for name, values in network(to_input(batch, mean, std)).items()})
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}


@dataclass(frozen=True)
class SplitScores:
    """A bundle's scores for N images, N x values per answered attribute.

    `scores` are calibrated, as the predictor returns them; `raw` are plain softmax. `is_product` (N) is the decision of
    the in_domain head.
    """

    scores: dict[str, npt.NDArray[np.float64]]
    raw: dict[str, npt.NDArray[np.float64]]
    is_product: npt.NDArray[np.bool_]


def compute_scores(bundle: Bundle, pixels: Pixels) -> SplitScores:
    """Calibrated and raw scores of all images."""
    logits = compute_logits(bundle.network(), pixels, bundle.mean, bundle.std)
    plain = {name: replace(each, temperature=1.0, softness=1.0) for name, each in bundle.calibration.items()}
    return SplitScores(
        scores=tree_scores(logits, bundle.taxonomy, bundle.calibration, bundle.photo_factor),
        raw=tree_scores(logits, bundle.taxonomy, plain, 1.0),
        is_product=product_mask(logits, len(pixels)),
    )


def product_mask(logits: Logits, rows: int) -> npt.NDArray[np.bool_]:
    """Which rows are taken for products, N; all of them if the network has no in_domain head."""
    return np.asarray(logits[DOMAIN] >= 0) if DOMAIN in logits else np.ones(rows, dtype=bool)


def tree_scores(
    logits: Logits, taxonomy: Taxonomy, calibration: Mapping[str, Calibration], photo_factor: float
) -> dict[str, npt.NDArray[np.float64]]:
    """Calibrated scores per attribute, derived levels included, N x values; see `model.scoring.scores_from`."""
    tensors = {name: torch.from_numpy(values) for name, values in logits.items()}
    scored = scores_from(tensors, taxonomy, calibration, photo_factor)
    scores: dict[str, Any] = {name: rows.numpy() for name, rows in scored.items()}
    return scores

"""Distillation: what other bundles say of the training pictures, as soft targets beside the labels.

The teachers may be larger, of another architecture and at another input size; they see each picture once, as it is, and
the student learns their mean from its own augmented view. Hinton, Vinyals and Dean, arXiv 1503.02531, at temperature 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from model.bundle import Bundle, load_bundle
from model.preprocessing import Pixels
from model.taxonomy import Taxonomy
from train.images import load_pixels
from train.inference import logits_of

Soft = dict[str, npt.NDArray[np.float16]]
"""Per head that the taxonomy names, N x values: the teachers' mean probabilities."""


def soft_targets(
    teachers: Sequence[Path], data: Path, names: Sequence[str], taxonomy: Taxonomy, cache: Path | None = None
) -> Soft:
    """The mean of what the bundles say of the named pictures of `data`; empty without any.

    Raises ValueError where a teacher knows another taxonomy, BundleError where it cannot be read.
    """
    total: dict[str, npt.NDArray[np.float32]] = {}
    for folder in teachers:
        bundle = load_bundle(folder)
        if bundle.taxonomy.attributes != taxonomy.attributes:
            raise ValueError(f"the teacher in {folder.name} knows another taxonomy than the one trained for")
        for name, rows in probabilities(bundle, load_pixels(data, names, bundle.size, cache)).items():
            total[name] = total.get(name, np.float32(0)) + rows / np.float32(len(teachers))
    return {name: rows.astype(np.float16) for name, rows in total.items()}


def probabilities(bundle: Bundle, pixels: Pixels) -> dict[str, npt.NDArray[np.float32]]:
    """A bundle's uncalibrated probabilities over the values of each attribute it has a head for."""
    logits = logits_of(bundle.network(), pixels, bundle.mean, bundle.std)
    return {name: torch.from_numpy(logits[name]).softmax(dim=1).numpy() for name in bundle.taxonomy.attributes}


def distillation_loss(
    logits: Mapping[str, torch.Tensor], soft: Mapping[str, torch.Tensor], weights: Mapping[str, float]
) -> torch.Tensor:
    """Weighted sum over the heads of the mean cross-entropy against the teachers' probabilities (N x values each)."""
    losses = [
        weights[name] * functional.cross_entropy(logits[name].float(), rows.float()) for name, rows in soft.items()
    ]
    return torch.stack(losses).sum()

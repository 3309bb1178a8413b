"""Distillation: what other bundles say of the training pictures, as soft targets beside the labels.

The teachers may be larger, of another architecture and at another input size; they see each picture once, as it is, and
the student learns their mean from its own augmented view. Hinton, Vinyals and Dean, arXiv 1503.02531, at temperature 1.

What a teacher knows of the world shows in its pooled features more than in the few values it answers with, so an
auxiliary head of the student learns those, too: Wang, Ge and Wu, "In Defense of Feature Mimicking", arXiv 2011.01424.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from model.bundle import Bundle, load_bundle
from model.preprocessing import Pixels, to_input
from model.taxonomy import Taxonomy
from train.data.images import load_pixels

FEATURES = "teacher_features"
"""The auxiliary head, and the rows in `Soft`, of the teachers' pooled features."""

Soft = dict[str, npt.NDArray[np.float16]]
"""Per head that the taxonomy names, N x values, the teachers' mean probabilities; under FEATURES what they see.

That is N x (the sum of their widths): each teacher's features, every row brought to mean 0 and variance 1.
"""


def soft_targets(
    teachers: Sequence[Path], data: Path, names: Sequence[str], taxonomy: Taxonomy, cache: Path | None = None
) -> Soft:
    """The mean of what the bundles say of the named pictures of `data`, and what they see; empty without any.

    Raises ValueError where a teacher knows another taxonomy, BundleError where it cannot be read.
    """
    total: dict[str, npt.NDArray[np.float32]] = {}
    seen: list[npt.NDArray[np.float16]] = []
    for folder in teachers:
        bundle = load_bundle(folder)
        if bundle.taxonomy.attributes != taxonomy.attributes:
            raise ValueError(f"the teacher in {folder.name} knows another taxonomy than the one trained for")
        said, features = teacher_outputs(bundle, load_pixels(data, names, bundle.size, cache))
        seen.append(features)
        for name, rows in said.items():
            total[name] = total.get(name, np.float32(0)) + rows / np.float32(len(teachers))
    soft = {name: rows.astype(np.float16) for name, rows in total.items()}
    return soft | ({FEATURES: np.concatenate(seen, axis=1)} if seen else {})


@torch.no_grad()
def teacher_outputs(
    bundle: Bundle, pixels: Pixels, batch_size: int = 128
) -> tuple[dict[str, npt.NDArray[np.float32]], npt.NDArray[np.float16]]:
    """A bundle's uncalibrated probabilities per attribute it has a head for, and its features, normalised by row."""
    network = bundle.network()
    said: list[dict[str, torch.Tensor]] = []
    seen = [torch.zeros(0, network.features)]
    for first in range(0, len(pixels), batch_size):
        batch = torch.from_numpy(np.array(pixels[first : first + batch_size]))
        logits, feature_map = network.forward_with_features(to_input(batch, bundle.mean, bundle.std))
        pooled = network.pool(feature_map)
        said.append({name: logits[name].softmax(dim=1) for name in bundle.taxonomy.attributes})
        seen.append(functional.layer_norm(pooled, pooled.shape[1:]))
    probabilities = {name: torch.cat([part[name] for part in said]).numpy() for name in (said[0] if said else {})}
    return probabilities, torch.cat(seen).numpy().astype(np.float16)


def distillation_loss(
    logits: Mapping[str, torch.Tensor], soft: Mapping[str, torch.Tensor], weights: Mapping[str, float]
) -> torch.Tensor:
    """Weighted sum over the heads: cross-entropy against the teachers' probabilities, mean square of FEATURES."""
    losses = [
        weights[name]
        * (functional.mse_loss if name == FEATURES else functional.cross_entropy)(logits[name].float(), rows.float())
        for name, rows in soft.items()
    ]
    return torch.stack(losses).sum()

"""Knowledge distillation: outputs of teacher bundles as soft targets beside the labels.

Teachers may be larger and have another architecture and input size. They see each image once, unaugmented; the student
learns the mean of their probabilities from its own augmented view. Hinton, Vinyals and Dean, arXiv 1503.02531, at
temperature 1.

A teacher's pooled features carry more information than its few outputs, so an auxiliary head of the student learns them
too: Wang, Ge and Wu, "In Defense of Feature Mimicking", arXiv 2011.01424.
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
"""Name of the auxiliary head that learns the teachers' pooled features, and their key in `Soft`."""

Soft = dict[str, npt.NDArray[np.float16]]
"""Soft targets: per attribute the teachers' mean probabilities (N x values), and under FEATURES their features.

The features of all teachers are concatenated (N x sum of their widths), each with mean 0 and variance 1 per row.
"""


def soft_targets(
    teachers: Sequence[Path], data: Path, names: Sequence[str], taxonomy: Taxonomy, cache: Path | None = None
) -> Soft:
    """Soft targets of the named images of `data`; empty without teachers.

    Raises ValueError if a teacher has another taxonomy, and BundleError if it cannot be read.
    """
    total: dict[str, npt.NDArray[np.float32]] = {}
    all_features: list[npt.NDArray[np.float16]] = []
    for folder in teachers:
        bundle = load_bundle(folder)
        if bundle.taxonomy.attributes != taxonomy.attributes:
            raise ValueError(f"the teacher in {folder.name} has another taxonomy than this run")
        probabilities, features = teacher_outputs(bundle, load_pixels(data, names, bundle.size, cache))
        all_features.append(features)
        for name, rows in probabilities.items():
            total[name] = total.get(name, np.float32(0)) + rows / np.float32(len(teachers))
    soft = {name: rows.astype(np.float16) for name, rows in total.items()}
    return soft | ({FEATURES: np.concatenate(all_features, axis=1)} if all_features else {})


@torch.no_grad()
def teacher_outputs(
    bundle: Bundle, pixels: Pixels, batch_size: int = 128
) -> tuple[dict[str, npt.NDArray[np.float32]], npt.NDArray[np.float16]]:
    """A bundle's uncalibrated probabilities per attribute (N x values), and its normalised pooled features."""
    network = bundle.network()
    outputs: list[dict[str, torch.Tensor]] = []
    features = [torch.zeros(0, network.features)]
    for first in range(0, len(pixels), batch_size):
        batch = torch.from_numpy(np.array(pixels[first : first + batch_size]))
        logits, feature_map = network.forward_with_features(to_input(batch, bundle.mean, bundle.std))
        pooled = network.pool(feature_map)
        outputs.append({name: logits[name].softmax(dim=1) for name in bundle.taxonomy.attributes})
        features.append(functional.layer_norm(pooled, pooled.shape[1:]))
    names = outputs[0] if outputs else {}
    probabilities = {name: torch.cat([part[name] for part in outputs]).numpy() for name in names}
    return probabilities, torch.cat(features).numpy().astype(np.float16)


def distillation_loss(
    logits: Mapping[str, torch.Tensor], soft: Mapping[str, torch.Tensor], weights: Mapping[str, float]
) -> torch.Tensor:
    """Weighted sum over the heads: cross-entropy with the teachers' probabilities, mean squared error of FEATURES."""
    losses = [
        weights[name]
        * (functional.mse_loss if name == FEATURES else functional.cross_entropy)(logits[name].float(), rows.float())
        for name, rows in soft.items()
    ]
    return torch.stack(losses).sum()

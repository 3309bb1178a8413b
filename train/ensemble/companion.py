"""`python -m train.companion`: join two trained bundles into one that answers with the mean of both.

The first keeps what only it can do: its feature map, on which a captioner is trained, the photo head and the in_domain
head. The second adds its probabilities. Its part of the mean and the calibration of the whole are fitted on val.

Where several are given for the second, of one lineage, it is the mean of their weights
(see `train.ensemble.model_soup`).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from model.bundle import Bundle, Companion
from model.nets.network import mix_logits
from train.data.catalogue import read_catalogue
from train.data.dataset import (
    CatalogueSplit,
    PhotoSplit,
    load_catalogue_split,
    load_photo_split,
)
from train.data.loss import mean_log_loss
from train.data.options import Options
from train.data.photos import read_photos
from train.evaluation.inference import compute_logits

SHARES = tuple(round(float(share), 2) for share in np.arange(0.1, 0.91, 0.05))


def join(first: Bundle, second: Bundle) -> Bundle:
    """The first with the second as its companion, each half of the mean, and neither captioner nor figures.

    Raises ValueError where they know different values or see differently normalised pictures.
    """
    if first.taxonomy.attributes != second.taxonomy.attributes:
        raise ValueError("the two bundles know different taxonomies, so their answers cannot be joined")
    if (first.mean, first.std) != (second.mean, second.std):
        raise ValueError("the two bundles normalise pictures differently, so they cannot share an input")
    if first.companion or second.companion:
        raise ValueError("one of the two bundles has a companion already; join two that have none")
    own_heads = tuple(f"heads.{name}." for name in second.taxonomy.attributes)
    weights = {
        f"companion.{name}": tensor
        for name, tensor in second.weights.items()
        if name.startswith(("backbone.", *own_heads))
    }
    return dataclasses.replace(
        first,
        weights=first.weights | weights,
        companion=Companion(second.architecture, 0.5),
        captioner=None,
        metrics={},
    )


def validation_splits(bundle: Bundle, options: Options, cache: Path | None) -> tuple[CatalogueSplit, PhotoSplit | None]:
    """The validation splits at the bundle's size."""
    items = read_catalogue(options.data, bundle.taxonomy.values, options.columns)
    val = load_catalogue_split(options.data, items, "val", bundle.taxonomy, bundle.size, cache)
    if options.photos is None:
        return val, None
    rows, labels = read_photos(options.photos), options.photo_labels
    return val, load_photo_split(options.photos, rows, "val", bundle.taxonomy, bundle.size, cache, labels)


def fit_share(bundle: Bundle, val: CatalogueSplit) -> Bundle:
    """The bundle with the companion's share of least log loss on the catalogue, the mean over heads.

    Own photos have no say: where one of the two hardly knows them, they would leave it none on the catalogue either.
    """
    network, names, companion = bundle.network(), tuple(bundle.taxonomy.attributes), bundle.companion
    other, network.companion = network.companion, None
    if other is None or companion is None:
        raise ValueError(f"{bundle.name} has no companion")
    ours, theirs = (
        {
            name: torch.from_numpy(rows)
            for name, rows in compute_logits(each, val.pixels, bundle.mean, bundle.std).items()
        }
        for each in (network, other)
    )

    def loss(share: float) -> float:
        return mean_log_loss({name: mix_logits(ours[name], theirs[name], share) for name in names}, val.targets)

    share = min(SHARES, key=loss)
    print(f"the companion's share: {share:.2f}, log loss {loss(share):.4f}", flush=True)
    return dataclasses.replace(bundle, companion=dataclasses.replace(companion, share=share))

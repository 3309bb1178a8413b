"""Two trained bundles as one that averages their probabilities.

The first bundle keeps its feature map (on which a captioner is trained), its photo head and its in_domain head. The
companion contributes probabilities only. Its weight in the average and the calibration of the result are fitted on the
validation split.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.bundle import Bundle, Companion, load_bundle
from model.nets.network import mix_logits
from train.captions.captions import save_with_captions
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
from train.ensemble.model_soup import greedy_soup
from train.evaluation.inference import compute_logits
from train.export import measure_and_save
from train.heads.calibration import calibrate

SHARES = tuple(round(float(share), 2) for share in np.arange(0.1, 0.91, 0.05))
"""Candidate weights of the companion in the average: .10, .15 … .90."""


def combine(
    first: Path,
    companions: Sequence[Path],
    options: Options,
    version: str,
    pictures: int,
    origin: str,
    cache: Path | None,
) -> list[dict[str, Any]]:
    """Write the combined bundle to `options.out` and return its evaluation reports.

    The weights of several companions are averaged first. `pictures` is the number of generated non-product images per
    kind, `origin` the model card's Markdown on the data. Raises ValueError if the bundles cannot be combined.
    """
    leader = load_bundle(first)
    val, photos = validation_splits(leader, options, cache)
    others = [load_bundle(folder) for folder in companions]
    second = greedy_soup(others, val) if len(others) > 1 else others[0]
    joined = dataclasses.replace(join(leader, second), version=version)
    calibrated = calibrate(fit_share(joined, val), val, photos, options)
    reports = measure_and_save(calibrated, options, pictures, options.out, origin)
    if leader.captioner:
        save_with_captions(load_bundle(options.out), leader.captioner, options.data, options.out, cache)
    return reports


def join(first: Bundle, second: Bundle) -> Bundle:
    """The first bundle with the second as its companion at weight .5, without captioner and metrics.

    Raises ValueError if their taxonomies or image normalisations differ, or if one has a companion already.
    """
    if first.taxonomy.attributes != second.taxonomy.attributes:
        raise ValueError("the two bundles have different taxonomies, so their answers cannot be averaged")
    if (first.mean, first.std) != (second.mean, second.std):
        raise ValueError("the two bundles normalise images differently, so they cannot share an input")
    if first.companion or second.companion:
        raise ValueError("one of the two bundles already has a companion; combine two bundles without one")
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
    """The validation splits of the catalogue and of the photos (None without photos), at the bundle's input size."""
    items = read_catalogue(options.data, bundle.taxonomy.values, options.columns)
    val = load_catalogue_split(options.data, items, "val", bundle.taxonomy, bundle.size, cache)
    if options.photos is None:
        return val, None
    rows, labels = read_photos(options.photos), options.photo_labels
    return val, load_photo_split(options.photos, rows, "val", bundle.taxonomy, bundle.size, cache, labels)


def fit_share(bundle: Bundle, val: CatalogueSplit) -> Bundle:
    """The bundle with the companion's weight that minimises the mean log loss over heads on the catalogue's `val`.

    Customer photos are not used: if one of the networks was hardly trained on photos, they would reduce its weight on
    the catalogue too.
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
    print(f"companion weight {share:.2f}, log loss {loss(share):.4f}", flush=True)
    return dataclasses.replace(bundle, companion=dataclasses.replace(companion, share=share))

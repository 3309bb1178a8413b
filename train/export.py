"""From a trained network to a bundle: calibrate on val, drop the auxiliary heads, measure, write the card, save."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.bundle import Bundle, Calibration, save_bundle
from model.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from model.taxonomy import TREE_LEVELS, Taxonomy
from train.calibrate import choose_threshold, fit_temperature, floor_of, order_tree, precision_asked
from train.card import write_card
from train.dataset import CatalogueSplit, Dataset, PhotoSplit
from train.inference import logits_of, tree_scores
from train.judge import Scores, fitting, judge
from train.loss import UNKNOWN
from train.measure import Bools, Floats
from train.options import Options


def export(
    options: Options,
    dataset: Dataset,
    weights: dict[str, torch.Tensor],
    folder: Path,
    sources: list[tuple[Path, str]],
    identity: tuple[str, str],
    origin: str,
) -> list[dict[str, Any]]:
    """Write the bundle and return its figures.

    `weights` are those of the averaged network with its auxiliary heads; `sources` are the folders and splits to
    measure for the card; `identity` is the bundle's name and version.
    """
    served = {name: tensor for name, tensor in weights.items() if not _is_auxiliary(name, dataset.taxonomy)}
    bundle = Bundle(
        name=identity[0],
        version=identity[1],
        architecture=options.architecture,
        size=options.size,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        calibration={},
        taxonomy=dataset.taxonomy,
        weights={name: tensor.half().float() for name, tensor in served.items()},
        created=datetime.datetime.now(datetime.UTC).date().isoformat(),
        metrics={},
        card="",
    )
    bundle = dataclasses.replace(bundle, calibration=calibrate(bundle, dataset))
    reports = [judge(bundle, source, split) for source, split in sources]
    metrics = {f"{report['kind']}/{report['split']}": report for report in reports}
    bundle = dataclasses.replace(bundle, metrics=metrics, card=write_card(bundle, reports, origin))
    save_bundle(bundle, folder)
    return reports


def _is_auxiliary(weight: str, taxonomy: Taxonomy) -> bool:
    return any(weight.startswith(f"heads.{level}.") for level in taxonomy.derived)


def calibrate(bundle: Bundle, dataset: Dataset) -> dict[str, Calibration]:
    """Temperatures and thresholds of every answered attribute, from val alone, with the weights as they are stored."""
    network, val = bundle.network(), dataset.val
    logits = logits_of(network, val.pixels)
    temperatures = {name: fit_temperature(logits[name], val.targets[name]) for name in bundle.taxonomy.attributes}
    scores = tree_scores(logits, bundle.taxonomy, temperatures)
    thresholds = {name: _threshold(name, *_right(val, scores, name)) for name in bundle.taxonomy.values}
    if dataset.val_photos is not None:
        own = tree_scores(logits_of(network, dataset.val_photos.pixels), bundle.taxonomy, temperatures)
        thresholds = raise_for_photos(thresholds, dataset.val_photos, own)
    temperatures |= dict.fromkeys(bundle.taxonomy.derived, temperatures[TREE_LEVELS[0]])
    found = {name: Calibration(temperatures[name], thresholds[name], precision_asked(name)) for name in thresholds}
    return order_tree(found)


def raise_for_photos(thresholds: dict[str, float], photos: PhotoSplit, scores: Scores) -> dict[str, float]:
    """articleType's threshold has to keep its precision on own photos, too: the higher of the two counts."""
    leaf = TREE_LEVELS[0]
    return thresholds | {leaf: max(thresholds[leaf], _threshold(leaf, *fitting(photos, scores)))}


def _threshold(name: str, right: Bools, confidence: Floats) -> float:
    return choose_threshold(right, confidence, precision_asked(name), floor_of(name))


def _right(split: CatalogueSplit, scores: Scores, name: str) -> tuple[Bools, Floats]:
    """Whether the best guess is right, and its score, over the labelled rows."""
    known = split.targets[name] != UNKNOWN
    rows: Floats = scores[name][known]
    return np.asarray(rows.argmax(axis=1) == split.targets[name][known]), rows.max(axis=1)

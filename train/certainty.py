"""How sure a bundle has to be: temperatures, thresholds and the photo factor of a network, from val alone.

On own photos the promise is kept by the photo factor rather than by a higher threshold: a threshold that is safe on
photos would silence three in four catalogue pictures that are answered rightly (measured, see LOG.md).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from model.bundle import Bundle, Calibration
from model.network import PHOTO_HEAD
from model.taxonomy import TREE_LEVELS, Taxonomy
from train.calibrate import (
    PHOTO_FACTORS,
    choose_threshold,
    fit_photo_factor,
    fit_temperature,
    floor_of,
    order_tree,
    precision_asked,
    safe_share,
)
from train.dataset import CatalogueSplit, Dataset, PhotoSplit
from train.inference import Logits, logits_of, tree_scores
from train.judge import Scores, fitting
from train.loss import UNKNOWN
from train.measure import Bools, Floats

LEAF = TREE_LEVELS[0]


def calibrate(bundle: Bundle, dataset: Dataset) -> Bundle:
    """The bundle with its calibration and photo factor, fitted with the weights as they are stored."""
    network, taxonomy, val, own = bundle.network(), bundle.taxonomy, dataset.val, dataset.val_photos
    logits = logits_of(network, val.pixels)
    temperatures = {name: fit_temperature(logits[name], val.targets[name]) for name in taxonomy.attributes}
    photo_logits = logits_of(network, own.pixels) if own else None
    factor = 1.0
    if own and photo_logits:
        chance = 1 / (1 + np.exp(-photo_logits[PHOTO_HEAD][:, 0].astype(np.float64)))
        factor = fit_photo_factor(photo_logits[LEAF], chance, own.types, temperatures[LEAF])
    calibration = _calibration(val, tree_scores(logits, taxonomy, temperatures, factor), temperatures)
    if own and photo_logits:
        factor = safe_factor(factor, calibration[LEAF], own, photo_logits, taxonomy, temperatures)
    return dataclasses.replace(bundle, calibration=calibration, photo_factor=factor)


def _calibration(split: CatalogueSplit, scores: Scores, temperatures: dict[str, float]) -> dict[str, Calibration]:
    groups = cluster_numbers([item.group for item in split.items])
    found = {}
    for name, rows in scores.items():
        known = split.targets[name] != UNKNOWN
        right = np.asarray(rows[known].argmax(axis=1) == split.targets[name][known])
        asked = precision_asked(name)
        threshold = choose_threshold(right, rows[known].max(axis=1), groups[known], asked, floor_of(name))
        found[name] = Calibration(temperatures.get(name, temperatures[LEAF]), threshold, asked)
    return order_tree(found)


def safe_factor(
    lowest: float,
    calibration: Calibration,
    photos: PhotoSplit,
    logits: Logits,
    taxonomy: Taxonomy,
    temperatures: dict[str, float],
) -> float:
    """The smallest factor from `lowest` on with which articleType's threshold is safe on own photos, too.

    Where none is, for want of photos or of a network that knows them, the one that comes nearest.
    """
    senders = cluster_numbers([photo.sender for photo in photos.photos])

    def safety(factor: float) -> float:
        right, confidence = fitting(photos, tree_scores(logits, taxonomy, temperatures, factor))
        return _safety(right, confidence, senders, calibration.threshold)

    factors = [float(factor) for factor in PHOTO_FACTORS if factor >= lowest]
    safe = (factor for factor in factors if safety(factor) >= calibration.precision)
    return next(safe, max(factors, key=safety))


def _safety(right: Bools, confidence: Floats, clusters: npt.NDArray[np.int64], threshold: float) -> float:
    kept = confidence >= threshold
    return safe_share(right[kept], clusters[kept]) if kept.any() else 0.0


def cluster_numbers(names: list[str]) -> npt.NDArray[np.int64]:
    """Names of groups or senders as numbers from 0."""
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)

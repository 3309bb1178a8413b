"""Calibration of a bundle: temperatures, thresholds and the photo factor, fitted on `val`.

On customer photos the target precision is reached through the photo factor rather than a higher threshold. A threshold
that is safe on photos would suppress three in four correct answers on catalogue images (measured, see LOG.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from model.bundle import Bundle, Calibration
from model.nets.network import PHOTO_HEAD
from model.taxonomy import Taxonomy
from train.data.dataset import CatalogueSplit, PhotoSplit
from train.data.loss import UNKNOWN
from train.data.options import Options
from train.evaluation.calibrate import (
    DEFAULT_PRECISION,
    PHOTO_FACTORS,
    Clusters,
    choose_threshold,
    cluster_numbers,
    fit_photo_factor,
    fit_temperature,
    order_tree_thresholds,
    precision_lower_bound,
    threshold_floor,
)
from train.evaluation.evaluator import Scores, label_fits
from train.evaluation.inference import Logits, compute_logits, tree_scores
from train.evaluation.measure import BoolArray, FloatArray
from train.heads.threshold_check import describe_thresholds, to_json

MIN_ANNOTATED = 50
"""Fewer labelled photos than this say nothing about an attribute's precision."""

OWN_FACTORS = np.geomspace(0.3, 3.0, 80)
"""Candidates for an attribute's own photo factor. At the highest, next to no photo is answered."""


def calibrate(bundle: Bundle, val: CatalogueSplit, photos: PhotoSplit | None, options: Options) -> Bundle:
    """The bundle with its calibration and photo factor, fitted with the weights as stored (half precision).

    `val` and `photos` are the validation splits of the catalogue and the customer photos at the bundle's input size. Of
    the `options`, only the target precisions and margins are used.
    """
    network, taxonomy = bundle.network(), bundle.taxonomy
    logits = compute_logits(network, val.pixels)
    groups = cluster_numbers([item.group for item in val.items])
    heads = {name: fit_temperature(logits[name], val.targets[name], groups) for name in taxonomy.attributes}
    photo_logits = compute_logits(network, photos.pixels) if photos else None
    factor = 1.0
    if photos and photo_logits:
        chance = 1 / (1 + np.exp(-photo_logits[PHOTO_HEAD][:, 0].astype(np.float64)))
        factor = fit_photo_factor(photo_logits[photos.leaf], chance, photos.types, heads[photos.leaf])
    scores = tree_scores(logits, taxonomy, heads, factor)
    calibration = choose_thresholds(heads, val, scores, groups, taxonomy, options)
    if photos and photo_logits:
        factor = safe_photo_factor(factor, calibration, photos, photo_logits, taxonomy)
        scores = tree_scores(logits, taxonomy, calibration, factor)
    checked = describe_thresholds(calibration, val.targets, scores, groups)
    training = bundle.training | {"thresholds": to_json(checked)}
    calibrated = replace(bundle, calibration=calibration, photo_factor=factor, training=training)
    return with_own_photo_factors(calibrated, photos, photo_logits) if photos and photo_logits else calibrated


def choose_thresholds(
    heads: Mapping[str, Calibration],
    split: CatalogueSplit,
    scores: Scores,
    groups: Clusters,
    taxonomy: Taxonomy,
    options: Options,
    lowest: float = 0.0,
) -> dict[str, Calibration]:
    """One calibration per answered attribute: its head's, with the threshold that keeps the target precision.

    No threshold is below `lowest`.
    """
    found = {}
    for name, rows in scores.items():
        known = split.targets[name] != UNKNOWN
        correct = np.asarray(rows[known].argmax(axis=1) == split.targets[name][known])
        target = options.precisions.get(name, DEFAULT_PRECISION)
        with_margin = target + options.margins.get(name, 0.0)
        floor = max(lowest, threshold_floor(name, taxonomy.levels))
        threshold = choose_threshold(correct, rows[known].max(axis=1), groups[known], with_margin, floor)
        found[name] = replace(heads.get(name) or heads[taxonomy.levels[0]], threshold=threshold, precision=target)
    return order_tree_thresholds(found, taxonomy.levels)


def safe_photo_factor(
    lowest: float, calibration: Mapping[str, Calibration], photos: PhotoSplit, logits: Logits, taxonomy: Taxonomy
) -> float:
    """The smallest factor, at least `lowest`, at which the deepest level keeps its precision on customer photos too.

    If no factor does (too few photos, or a network not trained on them), the one with the highest precision bound.
    """
    senders = cluster_numbers([photo.sender for photo in photos.photos])
    leaf = calibration[photos.leaf]

    def bound(factor: float) -> float:
        correct, confidence = label_fits(photos, tree_scores(logits, taxonomy, calibration, factor))
        return _lower_bound_above(correct, confidence, senders, leaf.threshold)

    factors = [float(factor) for factor in PHOTO_FACTORS if factor >= lowest]
    safe = (factor for factor in factors if bound(factor) >= leaf.precision)
    return next(safe, max(factors, key=bound))


@dataclass(frozen=True)
class LabelledPhotos:
    """Photos with labels given by eye, to calibrate one attribute on.

    `logits` and `fitting` (the values that fit) are N x values, `senders` has N names.
    """

    logits: torch.Tensor
    fitting: BoolArray
    senders: list[str]

    def __add__(self, other: LabelledPhotos) -> LabelledPhotos:
        fitting = np.concatenate([self.fitting, other.fitting])
        return LabelledPhotos(torch.cat([self.logits, other.logits]), fitting, self.senders + other.senders)


def labelled_photos(photos: PhotoSplit, name: str, logits: torch.Tensor) -> LabelledPhotos:
    """Those of the photos that have a label of the attribute which excludes at least one value."""
    fitting = photos.annotated[name]
    rows = fitting.any(axis=1) & ~fitting.all(axis=1)
    senders = [photo.sender for photo, chosen in zip(photos.photos, rows, strict=True) if chosen]
    return LabelledPhotos(logits[torch.from_numpy(rows)], fitting[rows], senders)


def with_own_photo_factors(
    bundle: Bundle, photos: PhotoSplit, logits: Logits, others: Mapping[str, LabelledPhotos] | None = None
) -> Bundle:
    """The calibrated bundle with a photo factor per attribute of which photos have labels given by eye.

    It is the smallest factor at which the answers keep their precision on these photos. If there is none, the highest,
    which leaves nearly all photos unanswered. `logits` are the bundle's for `photos`. `others` are more photos, with
    logits by heads that had not seen them.
    """
    found = {}
    for name in photos.annotated:
        labelled = labelled_photos(photos, name, torch.from_numpy(logits[name]))
        labelled = labelled + others[name] if others and name in others else labelled
        if len(labelled.senders) >= MIN_ANNOTATED:
            factor = own_photo_factor(bundle.calibration[name], labelled)
            found[name] = replace(bundle.calibration[name], photo_factor=factor)
    return replace(bundle, calibration=bundle.calibration | found)


def own_photo_factor(own: Calibration, photos: LabelledPhotos) -> float:
    """The smallest candidate at which the precision's lower bound reaches its target, else the largest."""
    senders = cluster_numbers(photos.senders)
    scaled = photos.logits.double() / own.temperature
    unsure = 1 - scaled.softmax(dim=1).amax(dim=1, keepdim=True)

    def is_safe(factor: float) -> bool:
        scores = (scaled / (own.softness**unsure * factor)).softmax(dim=1).numpy()
        correct = photos.fitting[np.arange(len(scores)), scores.argmax(axis=1)]
        return _lower_bound_above(correct, scores.max(axis=1), senders, own.threshold) >= own.precision

    return next((float(factor) for factor in OWN_FACTORS if is_safe(float(factor))), float(OWN_FACTORS[-1]))


def _lower_bound_above(correct: BoolArray, confidence: FloatArray, clusters: Clusters, threshold: float) -> float:
    kept = confidence >= threshold
    return precision_lower_bound(correct[kept], clusters[kept]) if kept.any() else 0.0

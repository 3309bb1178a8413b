"""A run on a bundle's frozen backbones: features, heads, thresholds, fine-tuning if validation can judge it, a bundle.

The heads are new. Everything else that the start knows is kept: backbones, companion, and the in_domain head, whose
bias is lowered if it would reject the shop's own products.
"""

from __future__ import annotations

import dataclasses
import datetime
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.bundle import Bundle, Calibration, Companion, load_bundle
from model.nets.network import PHOTO_HEAD
from model.preprocessing import Pixels
from model.taxonomy import Taxonomy
from train.data.catalogue import CLIENT_ATTRIBUTES, Item, count_taxonomy, read_catalogue
from train.data.dataset import CatalogueSplit, targets_of
from train.data.images import ImageStore, load_pixels
from train.data.options import Options
from train.engine.checkpoint import save_options
from train.evaluation.calibrate import Clusters, cluster_numbers, fit_temperature
from train.evaluation.evaluator import report_rows
from train.evaluation.inference import Logits, SplitScores, tree_scores
from train.export import measure_and_save, training_record
from train.heads.calibration import choose_thresholds
from train.heads.threshold_check import describe_thresholds, to_json
from train.probe.cross_validation import TRAINED_ONLY, Folds, Probe, fit_probe, make_folds
from train.probe.features import Features, extract
from train.probe.fine_tuning import fine_tune
from train.probe.twins import find_twins, join_groups, thumbnails

SMALL_VALIDATION = 400
"""Validation splits of fewer products are small: a bound on the precision of a few hundred rows is wide, and of fewer
no threshold reaches .95. Folds then make all rows but those of `test` count."""

MIRRORED_ROWS = 20_000
"""Largest number of rows that are also learnt mirrored."""

LOWEST_THRESHOLD = 0.5
"""A value that is more likely wrong than right is never answered, however well a small table was predicted."""

REJECTED = 0.005
"""Share of the shop's own products that the in_domain head may reject."""

MAX_PICTURES, MIN_PICTURES = 200, 20
"""Generated non-product images per kind, to measure the in_domain head."""

CROSS_VALIDATION = "cross-validation"
OFF_LOGIT = -20.0
"""The photo head's logit: always a catalogue image, since thresholds are chosen on the shop's own pictures."""


@dataclass(frozen=True)
class Rows:
    """The rows that heads are fitted and thresholds are chosen on, their images, and their product groups (N)."""

    items: list[Item]
    pixels: Pixels
    groups: Clusters


def train_heads(
    options: Options, folder: Path, identity: tuple[str, str], origin: str, cache: Path | None
) -> list[dict[str, Any]]:
    """Write a bundle with new heads on the backbones of the bundle in `options.start`; returns its evaluation reports.

    `identity` is its name and version, `origin` the model card's Markdown on the data. Raises ValueError for a table
    that cannot be trained on, and BundleError for a bad start.
    """
    clock = Progress()
    start = dataclasses.replace(load_bundle(options.start), size=options.size, captioner=None)
    items = read_catalogue(options.data, _attributes(options), options.columns)
    taxonomy = _taxonomy(options, items)
    save_options(options)
    rows = load_rows(options, items, cache)
    folds, is_crossed = choose_folds(rows, options.seed)
    clock.say(f"{len(rows.items)} rows of {len(np.unique(rows.groups))} products; thresholds from {_source(folds)}")
    features = extract(start, rows.pixels, 2 if len(rows.items) <= MIRRORED_ROWS else 1)
    clock.say(f"features of {len(rows.items)} pictures by the frozen {start.architectures}")
    split = CatalogueSplit(
        rows.items, rows.pixels, {name: targets_of(rows.items, taxonomy, name) for name in taxonomy.values}
    )
    probe = fit_probe(features, split.targets, folds, taxonomy)
    clock.say("heads fitted")
    record = training_record(options, start, items, ["train", "val"] if is_crossed else ["train"], _source(folds))
    bundle = _assemble(start, probe, features, taxonomy, identity, record)
    bundle, scores = _calibrate(bundle, probe, features, split, rows.groups, options)
    if not is_crossed:
        clock.say("fine-tuning")
        minutes = options.max_minutes - clock.minutes if options.max_minutes else None
        bundle = fine_tune(bundle, options, minutes, cache)
    crossed = [_crossed_report(bundle, options, rows, probe, scores)] if is_crossed else []
    pictures = min(MAX_PICTURES, max(MIN_PICTURES, len(rows.items) // 8))
    splits = ("test",) if is_crossed else ("val", "test")
    reports = measure_and_save(bundle, options, pictures, folder, origin, splits=splits, others=crossed)
    clock.say(f"bundle written to {folder}")
    return reports


def _crossed_report(bundle: Bundle, options: Options, rows: Rows, probe: Probe, scores: SplitScores) -> dict[str, Any]:
    """The report on the held-out scores of all rows; the bundle's own scores would be those of trained rows."""
    held = [item for item, is_held in zip(rows.items, probe.held, strict=True) if is_held]
    about = {"bundle": bundle.name, "version": bundle.version, "data": options.data.resolve().stem}
    return {**about, "split": CROSS_VALIDATION, "kind": "catalogue", **report_rows(bundle, held, scores)[0]}


class Progress:
    """Prints what was done, with the seconds since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def minutes(self) -> float:
        """Minutes since the start."""
        return (time.monotonic() - self._began) / 60

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:6.1f} s] {text}", flush=True)


def load_rows(options: Options, items: list[Item], cache: Path | None) -> Rows:
    """The rows of `train` and `val` that have an image. Twins count as one product. Raises ValueError without any."""
    store = ImageStore(options.data)
    chosen = [item for item in items if item.split in {"train", "val"} and item.image in store]
    if not chosen:
        raise ValueError(
            f"{options.data.name} has no images in the splits train and val: {missing_images(items, store)}"
        )
    pixels = load_pixels(options.data, [item.image for item in chosen], options.size, cache)
    groups = cluster_numbers([item.group for item in chosen])
    return Rows(chosen, pixels, join_groups(groups, find_twins(thumbnails(pixels))))


def missing_images(items: list[Item], store: ImageStore) -> str:
    """Where the first image was looked for."""
    return f"{store.folder / items[0].image} does not exist" if items else "the table has no rows"


def choose_folds(rows: Rows, seed: int) -> tuple[Folds, bool]:
    """A fold per row, N, and whether the rows are cross-validated: if `val` has few products, or no products."""
    is_val = np.array([item.split == "val" for item in rows.items])
    if len(np.unique(rows.groups[is_val])) < SMALL_VALIDATION:
        return make_folds(rows.groups, seed), True
    return np.where(is_val, 0, TRAINED_ONLY).astype(np.int64), False


def _source(folds: Folds) -> str:
    count = len(np.unique(folds[folds != TRAINED_ONLY]))
    return "val" if (folds == TRAINED_ONLY).any() else f"{count}-fold cross-validation over products"


def _attributes(options: Options) -> tuple[str, ...]:
    return tuple(Taxonomy.load(options.taxonomy).values) if options.taxonomy else CLIENT_ATTRIBUTES


def _taxonomy(options: Options, items: list[Item]) -> Taxonomy:
    if options.taxonomy:
        return Taxonomy.load(options.taxonomy)
    return count_taxonomy([item for item in items if item.split == "train"])


def _assemble(
    start: Bundle,
    probe: Probe,
    features: Features,
    taxonomy: Taxonomy,
    identity: tuple[str, str],
    record: dict[str, Any],
) -> Bundle:
    """The uncalibrated bundle: the start's backbones and in_domain head, the probe's heads."""
    kept = ("backbone.", "companion.backbone.", "domain.")
    weights = {name: tensor for name, tensor in start.weights.items() if name.startswith(kept)}
    for prefix, heads in zip(("", "companion."), probe.heads, strict=False):
        for name, head in heads.items():
            weights[f"{prefix}heads.{name}.weight"] = head.weight
            weights[f"{prefix}heads.{name}.bias"] = head.bias
    width = probe.heads[0][next(iter(probe.heads[0]))].weight.shape[1]
    weights[f"heads.{PHOTO_HEAD}.weight"] = torch.zeros(1, width)
    weights[f"heads.{PHOTO_HEAD}.bias"] = torch.full((1,), OFF_LOGIT)
    if features.domain is not None:
        weights["domain.out.bias"] = start.weights["domain.out.bias"] - domain_excess(features)
    return dataclasses.replace(
        start,
        name=identity[0],
        version=identity[1],
        taxonomy=taxonomy,
        weights={name: tensor.half().float() for name, tensor in weights.items()},
        companion=Companion(start.companion.architecture, probe.share) if start.companion else None,
        calibration={},
        photo_factor=1.0,
        created=datetime.datetime.now(datetime.UTC).date().isoformat(),
        metrics={},
        card="",
        training=record,
    )


def domain_excess(features: Features) -> float:
    """How far the in_domain logits of the shop's own products lie below 0, at the quantile REJECTED; at most 0."""
    return 0.0 if features.domain is None else min(0.0, float(np.quantile(features.domain, REJECTED)))


def _calibrate(
    bundle: Bundle, probe: Probe, features: Features, split: CatalogueSplit, groups: Clusters, options: Options
) -> tuple[Bundle, SplitScores]:
    """The bundle with temperatures and thresholds from the held-out logits, and the held-out rows' scores."""
    held, taxonomy = probe.held, bundle.taxonomy
    items = [item for item, is_held in zip(split.items, held, strict=True) if is_held]
    tested = CatalogueSplit(items, split.pixels[held], {name: rows[held] for name, rows in split.targets.items()})
    heads = {
        name: fit_temperature(probe.logits[name], tested.targets[name], groups[held]) for name in taxonomy.attributes
    }
    logits: Logits = probe.logits | {PHOTO_HEAD: np.full((int(held.sum()), 1), OFF_LOGIT, dtype=np.float32)}
    scores = tree_scores(logits, taxonomy, heads, 1.0)
    plain = tree_scores(logits, taxonomy, {name: Calibration(1.0, 1.0, 0.9) for name in heads}, 1.0)
    found = choose_thresholds(heads, tested, scores, groups[held], taxonomy, options, LOWEST_THRESHOLD)
    checks = describe_thresholds(found, tested.targets, scores, groups[held])
    training = bundle.training | {"thresholds": to_json(checks)}
    domain = np.zeros(int(held.sum())) if features.domain is None else features.domain[held] - domain_excess(features)
    return dataclasses.replace(bundle, calibration=found, training=training), SplitScores(scores, plain, domain >= 0)

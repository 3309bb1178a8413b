"""Export of a trained network as a bundle: drop auxiliary heads, fit the others, calibrate, evaluate, save."""

from __future__ import annotations

import dataclasses
import datetime
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from model.bundle import Bundle, save_bundle
from model.nets.network import AttributeNetwork
from model.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from train.data.catalogue import Item, describe_split, read_catalogue, read_header
from train.data.dataset import Dataset
from train.data.distillation import FEATURES
from train.data.images import ImageStore
from train.data.options import Options
from train.data.words import WORD_HEAD
from train.evaluation.card import write_card
from train.evaluation.domain_evaluator import PICTURES, evaluate_domain
from train.evaluation.evaluator import evaluate
from train.heads.calibration import calibrate
from train.heads.domain import fit_domain
from train.heads.photo_head import fit_photo_head
from train.heads.threshold_check import format_warnings, from_json, warnings


def export(
    options: Options,
    dataset: Dataset,
    weights: dict[str, torch.Tensor],
    folder: Path,
    identity: tuple[str, str],
    origin: str,
) -> list[dict[str, Any]]:
    """Write the bundle to `folder` and return its evaluation reports.

    `weights` are those of the averaged network, auxiliary heads included. `identity` is the bundle's name and version,
    `origin` the model card's Markdown on the data and their limits.
    """
    print("fitting the photo head and the in_domain head", flush=True)
    bundle = uncalibrated(options, dataset, weights, identity)
    print("choosing temperatures and thresholds on val", flush=True)
    bundle = calibrate(bundle, dataset.val, dataset.val_photos, options)
    items = read_catalogue(options.data, bundle.taxonomy.values, options.columns)
    record = training_record(options, None, items, ["train"], "val")
    bundle = dataclasses.replace(bundle, training=record | bundle.training)
    return measure_and_save(bundle, options, min(PICTURES, len(dataset.train.items)), folder, origin)


def measure_and_save(
    bundle: Bundle,
    options: Options,
    pictures: int,
    folder: Path,
    origin: str,
    splits: Sequence[str] = ("val", "test"),
    others: Sequence[dict[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Evaluate the bundle, write it with its metrics and model card, and return the reports.

    Measured are the `splits` of the catalogue and the photos, and `pictures` generated non-product images per kind;
    reports that were made before are given as `others`. A split that the table lacks is left out.
    """
    reports = list(others)
    items, store = read_catalogue(options.data, bundle.taxonomy.values, options.columns), ImageStore(options.data)
    present = {item.split for item in items if item.image in store}
    for split in splits:
        print(f"measuring {split}" if split in present else f"not measuring {split}: it has no rows", flush=True)
        if split in present:
            reports.append(evaluate(bundle, options.data, split, options.columns))
        if options.photos:
            reports.append(evaluate(bundle, options.photos, split, labels=options.photo_labels))
    print("measuring generated images without a product", flush=True)
    reports.append(evaluate_domain(bundle, pictures))
    metrics = {f"{report['kind']}/{report['split']}": report for report in reports}
    bundle = dataclasses.replace(bundle, metrics=metrics, card=write_card(bundle, reports, origin))
    save_bundle(bundle, folder)
    print(format_warnings(warnings(from_json(bundle.training.get("thresholds", {})))), file=sys.stderr, flush=True)
    return reports


def training_record(
    options: Options, start: Bundle | None, items: Sequence[Item], trained_on: Sequence[str], thresholds_from: str
) -> dict[str, Any]:
    """How a bundle was trained, as it carries it: evaluation reads a table with these columns and this split."""
    return {
        "data": options.data.resolve().stem,
        "columns": dataclasses.asdict(options.columns),
        "split_rule": describe_split(options.columns, read_header(options.data)),
        "seed": options.seed,
        "rows": dict(sorted(Counter(item.split for item in items).items())),
        "trained_on": list(trained_on),
        "thresholds_from": thresholds_from,
        "start": f"{start.name} {start.version}" if start else str(options.start.name if options.start else ""),
    }


def uncalibrated(
    options: Options, dataset: Dataset, weights: dict[str, torch.Tensor], identity: tuple[str, str]
) -> Bundle:
    """The bundle before calibration: attribute heads, photo head and in_domain head, rounded to half precision."""
    taxonomy = dataset.taxonomy
    trained = AttributeNetwork(options.architecture, {name: len(values) for name, values in taxonomy.values.items()})
    training_only = (f"heads.{WORD_HEAD}.", f"heads.{FEATURES}.")
    weights = {name: tensor for name, tensor in weights.items() if not name.startswith(training_only)}
    trained.load_state_dict(weights)
    trained.eval()
    derived = tuple(f"heads.{level}." for level in taxonomy.derived)
    fitted = fit_photo_head(trained, dataset) | fit_domain(trained, dataset, options.others)
    served = {name: tensor for name, tensor in weights.items() if not name.startswith(derived)}
    return Bundle(
        name=identity[0],
        version=identity[1],
        architecture=options.architecture,
        size=options.size,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        calibration={},
        photo_factor=1.0,
        taxonomy=taxonomy,
        weights={name: tensor.half().float() for name, tensor in (served | fitted).items()},
        created=datetime.datetime.now(datetime.UTC).date().isoformat(),
        metrics={},
        card="",
    )

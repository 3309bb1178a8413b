"""From a trained network to a bundle: calibrate on val, drop the auxiliary heads, measure, write the card, save."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import Any

import torch

from model.bundle import Bundle, save_bundle
from model.nets.network import AttributeNetwork
from model.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from train.data.dataset import Dataset
from train.data.distillation import FEATURES
from train.data.options import Options
from train.data.words import WORD_HEAD
from train.evaluation.card import write_card
from train.evaluation.domain_evaluator import PICTURES, evaluate_domain
from train.evaluation.evaluator import evaluate
from train.heads.calibration import calibrate
from train.heads.domain import fit_domain
from train.heads.photo_head import fit_photo_head


def export(
    options: Options,
    dataset: Dataset,
    weights: dict[str, torch.Tensor],
    folder: Path,
    identity: tuple[str, str],
    origin: str,
) -> list[dict[str, Any]]:
    """Write the bundle and return its figures.

    `weights` are those of the averaged network with its auxiliary heads; `identity` is the bundle's name and version;
    `origin` is the card's Markdown on the data and its limits.
    """
    bundle = uncalibrated(options, dataset, weights, identity)
    bundle = calibrate(bundle, dataset.val, dataset.val_photos, options)
    return measure_and_save(bundle, options, min(PICTURES, len(dataset.train.items)), folder, origin)


def measure_and_save(
    bundle: Bundle, options: Options, pictures: int, folder: Path, origin: str
) -> list[dict[str, Any]]:
    """Write the bundle with its figures on both sets' val and test and on `pictures` drawn ones of each other kind."""
    reports = []
    for split in ("val", "test"):
        reports.append(evaluate(bundle, options.data, split, options.columns))
        if options.photos:
            reports.append(evaluate(bundle, options.photos, split, labels=options.photo_labels))
    reports.append(evaluate_domain(bundle, pictures))
    metrics = {f"{report['kind']}/{report['split']}": report for report in reports}
    bundle = dataclasses.replace(bundle, metrics=metrics, card=write_card(bundle, reports, origin))
    save_bundle(bundle, folder)
    return reports


def uncalibrated(
    options: Options, dataset: Dataset, weights: dict[str, torch.Tensor], identity: tuple[str, str]
) -> Bundle:
    """The bundle before calibration: served heads only, the photo head fitted, weights rounded as stored."""
    taxonomy = dataset.taxonomy
    trained = AttributeNetwork(options.architecture, {name: len(values) for name, values in taxonomy.values.items()})
    helpers = (f"heads.{WORD_HEAD}.", f"heads.{FEATURES}.")
    weights = {name: tensor for name, tensor in weights.items() if not name.startswith(helpers)}
    trained.load_state_dict(weights)
    trained.eval()
    auxiliary = tuple(f"heads.{level}." for level in taxonomy.derived)
    fitted = fit_photo_head(trained, dataset) | fit_domain(trained, dataset, options.others)
    served = {name: tensor for name, tensor in weights.items() if not name.startswith(auxiliary)}
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

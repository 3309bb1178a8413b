"""Fine-tuning of a bundle whose heads were fitted on its frozen backbone; kept only if `val` says that it is better."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from model.bundle import Bundle, Companion
from train.data.dataset import Dataset, load_dataset
from train.data.loss import mean_log_loss
from train.data.options import Options
from train.engine.loop import train
from train.ensemble.companion import fit_share
from train.evaluation.inference import compute_logits, tree_scores
from train.export import uncalibrated
from train.heads.calibration import calibrate

MIN_MINUTES = 0.2
"""Less time than this is not worth a start."""


def fine_tune(probed: Bundle, options: Options, minutes: float | None, cache: Path | None) -> Bundle:
    """The better of the probed bundle and a fine-tuned one, by the log loss on `val`.

    The first backbone is trained from the start's weights for at most `minutes` (None: all epochs); the companion stays
    frozen, with the probed heads.
    """
    if options.epochs < 1 or (minutes is not None and minutes < MIN_MINUTES):
        print("no time for fine-tuning: the heads on frozen backbones are kept", flush=True)
        return probed
    dataset = load_dataset(options, cache)
    weights = train(dataclasses.replace(options, max_minutes=minutes), dataset).cpu().state_dict()
    tuned = uncalibrated(options, dataset, weights, (probed.name, probed.version))
    if probed.companion:
        others = {name: tensor for name, tensor in probed.weights.items() if name.startswith("companion.")}
        tuned = dataclasses.replace(
            tuned, weights=tuned.weights | others, companion=Companion(probed.companion.architecture, 0.5)
        )
        tuned = fit_share(tuned, dataset.val)
    tuned = calibrate(dataclasses.replace(tuned, training=probed.training), dataset.val, None, options)
    before, after = log_loss(probed, dataset), log_loss(tuned, dataset)
    kept = "fine-tuned network" if after < before else "heads on frozen backbones"
    print(f"log loss on val: {before:.4f} frozen, {after:.4f} fine-tuned; the {kept} will be served", flush=True)
    return tuned if after < before else probed


def log_loss(bundle: Bundle, dataset: Dataset) -> float:
    """The mean log loss of a bundle's calibrated scores on `val`, averaged over attributes with a head."""
    logits = compute_logits(bundle.network(), dataset.val.pixels, bundle.mean, bundle.std)
    scores = tree_scores(logits, bundle.taxonomy, bundle.calibration, bundle.photo_factor)
    names = bundle.taxonomy.attributes
    logs = {name: torch.from_numpy(scores[name]).clamp(min=1e-12).log() for name in names}
    return mean_log_loss(logs, {n: dataset.val.targets[n] for n in names})

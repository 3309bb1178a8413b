"""The training loop: batch, loss, step, weight average, validation, checkpoint.

Random numbers depend only on seed, epoch and process, so a resumed run needs no stored generator state. The learning
rate follows the further advanced of steps (done of planned) and minutes (spent of allowed), so a run on a slow machine
ends on time with a fully annealed rate.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from tqdm import tqdm

from model.bundle import WEIGHTS, load_bundle
from model.nets.network import AttributeNetwork
from model.preprocessing import to_input
from train.data.dataset import (
    Batch,
    BatchSource,
    CatalogueSplit,
    Dataset,
    PhotoSplit,
)
from train.data.distillation import FEATURES, distillation_loss
from train.data.loss import (
    UNKNOWN,
    catalogue_loss,
    partial_label_loss,
    word_loss,
)
from train.data.options import Options
from train.data.prefetch import prefetch
from train.data.words import WORD_HEAD
from train.engine.checkpoint import (
    Clock,
    load_checkpoint,
    save_checkpoint,
    save_options,
)
from train.engine.depthwise import replace_large_depthwise
from train.engine.processes import SINGLE_PROCESS, Processes
from train.evaluation.inference import Logits, compute_logits


def train(
    options: Options, dataset: Dataset, processes: Processes = SINGLE_PROCESS, *, is_resumed: bool = False
) -> AttributeNetwork:
    """Train to the end and return the averaged network, auxiliary heads included. Checkpoints go to `options.out`."""
    torch.manual_seed(options.seed)
    device = processes.device
    source = BatchSource(dataset, options.batch_size, options.photo_batch_size, processes.rank, processes.count)
    network = new_network(options, dataset).to(device).to(memory_format=torch.channels_last)
    if device.type == "cpu":
        replace_large_depthwise(network)
    average = copy.deepcopy(network).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(parameter_groups(network, options.weight_decay), lr=options.learning_rate)
    clock = load_checkpoint(options.out, network, average, optimizer) if is_resumed else Clock()
    began = time.monotonic() - clock.spent_s
    planned = options.epochs * source.steps
    wrapped = processes.wrap(network)
    weights = {name: options.weight_of(name, dataset.taxonomy) for name in dataset.taxonomy.values}
    weights[FEATURES] = options.feature_weight
    if processes.is_first:
        save_options(options)

    while processes.broadcast(progress(clock.step, planned, began, options)) < 1:
        network.train()
        losses: list[float] = []
        order = torch.randperm(len(dataset.train.items), generator=seeded_generator(options.seed, clock.epoch)).numpy()
        batches = prefetch(source.epoch(order, seeded_generator(options.seed, clock.epoch, processes.rank + 1)))
        label = f"epoch {clock.epoch + 1}"
        bar = tqdm(batches, total=source.steps, desc=label, mininterval=2, disable=not processes.is_first)
        for batch in bar:
            done = processes.broadcast(progress(clock.step, planned, began, options))
            if done >= 1:
                break
            rate = learning_rate(options, max(done, (clock.step + 1) / planned))
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = batch_loss(wrapped, batch, options, weights, device)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            clock.step += 1
            update_average(average, network, min(options.ema_decay, (1 + clock.step) / (10 + clock.step)))
            losses.append(float(loss.detach()))
            bar.set_postfix(loss=f"{np.mean(losses[-50:]):.3f}", lr=f"{rate:.1e}", done=f"{done:.0%}", refresh=False)
        clock.epoch += 1
        clock.spent_s = time.monotonic() - began
        if not processes.is_first:
            continue
        save_checkpoint(options.out, network, average, optimizer, clock)
        report = {"loss": float(np.mean(losses)) if losses else math.nan} | validate(average, dataset)
        figures = " ".join(f"{name}={value:.4f}" for name, value in report.items())
        print(f"epoch {clock.epoch} after {clock.spent_s / 60:.1f} min: {figures}", flush=True)
    return average


def seeded_generator(seed: int, epoch: int, stream: int = 0) -> torch.Generator:
    """Returns one epoch's generator and seeds torch's global one (drop path). Stream 0 is common to all processes."""
    number = (seed * 1_000_003 + epoch) * 1_009 + stream
    torch.manual_seed(number)
    return torch.Generator().manual_seed(number)


def new_network(options: Options, dataset: Dataset) -> AttributeNetwork:
    """A network with heads for attributes, derived levels, name words and teacher features; loads `options.start`."""
    outputs = {name: len(values) for name, values in dataset.taxonomy.values.items()}
    if dataset.words:
        outputs[WORD_HEAD] = len(dataset.words)
    if FEATURES in dataset.soft:
        outputs[FEATURES] = dataset.soft[FEATURES].shape[1]
    network = AttributeNetwork(
        options.architecture, outputs, drop_path=options.drop_path, is_pretrained=options.is_pretrained
    )
    if options.start and options.start.is_dir():
        same = load_bundle(options.start).taxonomy.values
        others = [name for name, values in dataset.taxonomy.values.items() if same.get(name) != values]
        load_start_weights(network, options.start / WEIGHTS, without=others)
    elif options.start:
        load_start_weights(network, options.start)
    return network


def load_start_weights(network: AttributeNetwork, file: Path, without: Sequence[str] = ()) -> None:
    """Load the backbone from `file` (a bundle's weights, or a backbone alone), and the heads whose shapes match.

    Heads named in `without` stay as they are: their values are others than the file's. Raises ValueError if backbone
    weights are missing or have other shapes.
    """
    skipped = tuple(f"heads.{name}." for name in without)
    given = {name: tensor.float() for name, tensor in load_file(file).items() if not name.startswith(skipped)}
    own = network.state_dict()
    if not any(name.startswith("backbone.") for name in given):
        given = {f"backbone.{name}": tensor for name, tensor in given.items()}
    matching = {name: tensor for name, tensor in given.items() if name in own and own[name].shape == tensor.shape}
    missing = [name for name in own if name.startswith("backbone.") and name not in matching]
    if missing:
        raise ValueError(f"{file.name} lacks {len(missing)} backbone weights, such as {missing[0]}")
    network.load_state_dict(matching, strict=False)


def parameter_groups(network: AttributeNetwork, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups of the optimizer: weight decay on matrices only, not on norms and biases."""
    decayed = [tensor for tensor in network.parameters() if tensor.ndim > 1]
    others = [tensor for tensor in network.parameters() if tensor.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def progress(step: int, planned: int, began: float, options: Options) -> float:
    """Progress of the run, 0 at the start and 1 at the end: the larger of the shares of steps and of minutes."""
    of_time = (time.monotonic() - began) / 60 / options.max_minutes if options.max_minutes else 0.0
    return max(step / planned, of_time)


def learning_rate(options: Options, done: float) -> float:
    """Linear warm-up over the run's first share, times a cosine down to a hundredth; `done` is 0 to 1."""
    warm = min(1.0, done / options.warm_up) if options.warm_up > 0 else 1.0
    return options.learning_rate * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


def batch_loss(
    network: nn.Module, batch: Batch, options: Options, weights: dict[str, float], device: torch.device
) -> torch.Tensor:
    """The joint loss: all heads on catalogue rows, partial labels (types and genders that fit) on photos."""
    targets = {name: column.to(device) for name, column in batch.targets.items()}
    rows = len(next(iter(targets.values())))
    images, share = mixup(to_input(batch.images.to(device)), rows, options.mixup)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=supports_bfloat16(device)):
        logits: dict[str, torch.Tensor] = network(images)
    known = {name: values[:rows] for name, values in logits.items()}
    soft = {name: column.to(device) for name, column in batch.soft.items()}
    labels = Labels(targets, batch.words.to(device), soft)
    loss = share * rows_loss(known, labels, options, weights)
    if share < 1:
        loss = loss + (1 - share) * rows_loss(known, labels.of_mixup_partners(), options, weights)
    for name, allowed in batch.fitting.items():
        loss = loss + options.photo_weight * partial_label_loss(logits[name][rows:], allowed.to(device))
    if batch.photo_soft:
        photo_soft = {name: column.to(device) for name, column in batch.photo_soft.items()}
        distilled = distillation_loss({name: logits[name][rows:] for name in photo_soft}, photo_soft, weights)
        loss = loss + options.photo_weight * options.teaching * distilled
    return loss


@dataclass(frozen=True)
class Labels:
    """Targets of a batch's N catalogue rows: value indices (N per attribute), name words (N x words), soft targets."""

    targets: dict[str, torch.Tensor]
    words: torch.Tensor
    soft: dict[str, torch.Tensor]

    def of_mixup_partners(self) -> Labels:
        """The labels of each row's mixup partner, the row before it."""
        return Labels(
            {name: column.roll(1) for name, column in self.targets.items()},
            self.words.roll(1, 0),
            {name: column.roll(1, 0) for name, column in self.soft.items()},
        )


def supports_bfloat16(device: torch.device) -> bool:
    """Whether the device has bfloat16 arithmetic; a CPU without it emulates it at an eighth of float32's speed."""
    return device.type != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def mixup(images: torch.Tensor, rows: int, alpha: float) -> tuple[torch.Tensor, float]:
    """Mixup of the first `rows` images, each with the one before it, and the share that each keeps of itself.

    Rows come shuffled, so the partner is random. Zhang et al., arXiv 1710.09412; `alpha` 0 disables it.
    """
    if alpha <= 0:
        return images, 1.0
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    catalogue = images[:rows]
    return torch.cat([share * catalogue + (1 - share) * catalogue.roll(1, 0), images[rows:]]), share


def rows_loss(
    logits: dict[str, torch.Tensor], labels: Labels, options: Options, weights: dict[str, float]
) -> torch.Tensor:
    """The loss of catalogue rows: labels and distillation, weighted by `options.teaching`, plus name words."""
    loss = catalogue_loss(logits, labels.targets, weights, options.smoothing)
    if labels.soft:
        distilled = distillation_loss(logits, labels.soft, weights)
        loss = (1 - options.teaching) * loss + options.teaching * distilled
    if WORD_HEAD in logits:
        loss = loss + options.word_weight * word_loss(logits[WORD_HEAD], labels.words)
    return loss


@torch.no_grad()
def update_average(average: AttributeNetwork, network: AttributeNetwork, decay: float) -> None:
    """Update the exponential moving average of the weights; buffers (running statistics) are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
    for kept, current in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(current)


def validate(network: AttributeNetwork, dataset: Dataset) -> dict[str, float]:
    """Accuracy per head on `val`, and the share of `val` photos whose best type fits their label."""
    report = accuracies(compute_logits(network, dataset.val.pixels), dataset.val)
    if dataset.val_photos is not None:
        report["type_fits"] = share_fitting(compute_logits(network, dataset.val_photos.pixels), dataset.val_photos)
    return report


def accuracies(logits: Logits, split: CatalogueSplit) -> dict[str, float]:
    """Accuracy per head over the rows with a label; heads without any labelled row are left out."""
    known = {name: target != UNKNOWN for name, target in split.targets.items()}
    return {
        name: float((logits[name].argmax(1) == target)[known[name]].mean())
        for name, target in split.targets.items()
        if known[name].any()
    }


def share_fitting(logits: Logits, split: PhotoSplit) -> float:
    """Share of photos whose best value of the deepest level fits their label."""
    return float(np.take_along_axis(split.types, logits[split.leaf].argmax(1)[:, None], axis=1).mean())

"""The captioner's training loop, on feature maps of a frozen backbone, with caption and contrastive loss.

The weights are CoCa's: 2 for the caption's cross-entropy, 1 for the contrastive loss. All pairs of equal names in a
batch count as matches of the contrastive loss.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from model.captions.caption_network import CaptionNetwork
from model.captions.caption_parts import PAD, CaptionSizes
from train.captions.caption_rows import CaptionRows, hide_answers, inputs_and_targets
from train.data.feature_maps import Maps

CHECKPOINT = "captioner.pt"


@dataclass(frozen=True)
class CaptionOptions:
    """The settings of a run.

    `caption` and `contrastive` are weights of the losses; `contrastive` 0 disables that loss. `max_minutes` is a time
    limit; the learning rate is annealed to fit it.
    """

    out: Path
    epochs: int = 10
    max_minutes: float | None = None
    batch_size: int = 256
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    warm_up_steps: int = 150
    smoothing: float = 0.1
    caption: float = 2.0
    contrastive: float = 1.0
    width: int = CaptionSizes.width
    seed: int = 0


@dataclass(frozen=True)
class CaptionData:
    """Training rows and their feature maps, one array per copy of the images; `category` is CATEGORY's token id."""

    rows: CaptionRows
    copies: Sequence[Maps]
    attributes: tuple[str, ...]
    category: int


def train_captioner(
    options: CaptionOptions, sizes: CaptionSizes, data: CaptionData, *, is_resumed: bool = False
) -> CaptionNetwork:
    """Train to the end and return the network. The checkpoint of the last complete epoch is in `options.out`."""
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    network, random = CaptionNetwork(sizes), torch.Generator().manual_seed(options.seed)
    decayed = [weight for weight in network.parameters() if weight.ndim > 1]
    others = [weight for weight in network.parameters() if weight.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": options.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=options.learning_rate, betas=(0.9, 0.98))
    epoch, spent_s = _load(options.out, network, optimizer, random) if is_resumed else (0, 0.0)
    began = time.monotonic() - spent_s
    count = len(data.rows.tokens)
    steps = max(1, count // options.batch_size)

    def done(step: int) -> float:
        of_time = (time.monotonic() - began) / 60 / options.max_minutes if options.max_minutes else 0.0
        return max(step / (options.epochs * steps), of_time)

    while epoch < options.epochs and done(epoch * steps) < 1:
        network.train()
        order, losses = torch.randperm(count, generator=random), []
        for at in tqdm(range(steps), desc=f"epoch {epoch + 1}", mininterval=5):
            step = epoch * steps + at
            share = done(step)
            if share >= 1:
                break
            warm = min(1.0, (step + 1) / options.warm_up_steps)
            for group in optimizer.param_groups:
                group["lr"] = options.learning_rate * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)
            chosen = order[at * options.batch_size : (at + 1) * options.batch_size].sort().values
            loss, parts = batch_loss(network, data, chosen, options, random)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            losses.append(parts)
        epoch, spent_s = epoch + 1, time.monotonic() - began
        _save(options.out, network, optimizer, random, epoch, spent_s)
        means = np.mean(losses, axis=0) if losses else (math.nan, math.nan)
        print(
            f"epoch {epoch} after {spent_s / 60:.1f} min: caption={means[0]:.4f} contrastive={means[1]:.4f}", flush=True
        )
    return network.eval().requires_grad_(False)


def batch_loss(
    network: CaptionNetwork, data: CaptionData, chosen: torch.Tensor, options: CaptionOptions, random: torch.Generator
) -> tuple[torch.Tensor, tuple[float, float]]:
    """The weighted loss of one batch, and its caption and contrastive parts, unweighted."""
    copy = int(torch.randint(len(data.copies), (1,), generator=random))
    maps = torch.from_numpy(data.copies[copy][chosen.numpy()]).float()
    places, tokens = hide_answers(data.rows, chosen, data.attributes, data.category, random)
    inputs, targets = inputs_and_targets(tokens)
    visual = network.encode_image(maps)
    logits = network.decode(network.encode_text(inputs), network.memory(visual, places))
    caption = functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=PAD, label_smoothing=options.smoothing
    )
    if options.contrastive == 0:
        return options.caption * caption, (float(caption.detach()), 0.0)
    full = data.rows.full[chosen]
    full = full[:, : int((full != PAD).sum(dim=1).max())]
    image, text = network.embed_image(visual), network.embed_text(network.encode_text(full), full)
    contrastive = contrastive_loss(image, text, network.log_scale, data.rows.name_ids[chosen])
    loss = options.caption * caption + options.contrastive * contrastive
    return loss, (float(caption.detach()), float(contrastive.detach()))


def contrastive_loss(
    image: torch.Tensor, text: torch.Tensor, log_scale: torch.Tensor, name_ids: torch.Tensor
) -> torch.Tensor:
    """CLIP's symmetric loss, with all pairs of equal `name_ids` (N) as matches (Khosla et al., arXiv 2004.11362).

    `image` and `text` are N x embedding, of L2 norm 1.
    """
    logits = image @ text.T * log_scale.clamp(max=4.6).exp()  # at most 100, as in CLIP
    matches = (name_ids[:, None] == name_ids[None, :]).float()
    targets = matches / matches.sum(dim=1, keepdim=True)
    return (functional.cross_entropy(logits, targets) + functional.cross_entropy(logits.T, targets)) / 2


def options_json(options: CaptionOptions) -> dict[str, object]:
    """The settings as a JSON-ready dict."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()}


def _save(
    out: Path,
    network: CaptionNetwork,
    optimizer: torch.optim.Optimizer,
    random: torch.Generator,
    epoch: int,
    spent_s: float,
) -> None:
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "random": random.get_state()}
    torch.save(state | {"clock": [epoch, spent_s]}, out / f"{CHECKPOINT}.part")
    (out / f"{CHECKPOINT}.part").replace(out / CHECKPOINT)


def _load(
    out: Path, network: CaptionNetwork, optimizer: torch.optim.Optimizer, random: torch.Generator
) -> tuple[int, float]:
    """Restore the checkpoint; returns complete epochs and seconds spent. Raises FileNotFoundError if there is none."""
    state = torch.load(out / CHECKPOINT, weights_only=True)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    random.set_state(state["random"])
    epoch, spent_s = state["clock"]
    return int(epoch), float(spent_s)

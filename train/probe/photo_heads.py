"""Second heads for customer photos, fitted on labels given by looking at the photos.

The catalogue says nothing about colours, genders and usages in bad light and on patterned ground, so its heads guess. A
second linear head per backbone is fitted on the frozen features of training photos, near the catalogue's head; how near
is chosen by cross-validation over senders. Catalogue images keep their answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from model.bundle import Bundle
from model.nets.network import PHOTO_PREFIX, mix_logits
from train.data.dataset import PhotoSplit
from train.data.photos import Photo
from train.evaluation.calibrate import cluster_numbers
from train.probe.cross_validation import make_folds
from train.probe.features import extract
from train.probe.logistic import LinearHead

PENALTIES = (1e-1, 3e-2, 1e-2, 3e-3)
"""Candidate weights of the squared distance from the catalogue's head."""

FOLDS = 3
MIN_ROWS = 200
STEPS = 80


def with_photo_heads(bundle: Bundle, photos: PhotoSplit) -> tuple[Bundle, dict[str, torch.Tensor]]:
    """The bundle with a head for photos per attribute of which at least 200 training photos have labels.

    Rows without a label of gender count with what the set says of children and adults. Also returns logits of the
    photos (N x values) per attribute, by heads that had not seen them. Raises ValueError if none has enough rows.
    """
    pooled = extract(bundle, photos.pixels, copies=1).pooled
    folds = make_folds(cluster_numbers([photo.sender for photo in photos.photos]), seed=0, count=FOLDS)
    weights = sender_weights(photos.photos)
    found: dict[str, torch.Tensor] = {}
    held_out: dict[str, torch.Tensor] = {}
    for name in sorted(photos.annotated):
        allowed = allowed_values(photos, name)
        if (allowed.any(axis=1) & ~allowed.all(axis=1)).sum() < MIN_ROWS:
            continue
        for prefix, (inputs,) in zip(("", "companion."), pooled, strict=False):
            start = LinearHead(
                bundle.weights[f"{prefix}heads.{name}.weight"], bundle.weights[f"{prefix}heads.{name}.bias"]
            )
            head, held = fit_near(start, inputs, allowed, weights, folds)
            found[f"{prefix}{PHOTO_PREFIX}{name}.weight"] = head.weight.half().float()
            found[f"{prefix}{PHOTO_PREFIX}{name}.bias"] = head.bias.half().float()
            share = bundle.companion.share if bundle.companion else 0.0
            held_out[name] = mix_logits(held_out[name], held, share) if prefix else held
    if not found:
        raise ValueError(f"no attribute has labels of at least {MIN_ROWS} training photos")
    return replace(bundle, weights=bundle.weights | found), held_out


def allowed_values(photos: PhotoSplit, name: str) -> npt.NDArray[np.bool_]:
    """The values that fit each photo, N x values: its label by eye, else what the set says; no value if nothing."""
    labelled = photos.annotated[name]
    if name not in photos.fitting:
        return labelled
    return np.asarray(np.where(labelled.any(axis=1)[:, None], labelled, photos.fitting[name]))


def sender_weights(photos: Sequence[Photo]) -> torch.Tensor:
    """Weights of photos, N, mean 1: one over the square root of the number of photos of the same sender."""
    counts = Counter(photo.sender for photo in photos)
    weights = torch.tensor([counts[photo.sender] ** -0.5 for photo in photos])
    return weights / weights.mean()


def fit_near(
    start: LinearHead,
    inputs: torch.Tensor,
    allowed: npt.NDArray[np.bool_],
    weights: torch.Tensor,
    folds: npt.NDArray[np.int64],
) -> tuple[LinearHead, torch.Tensor]:
    """The head of least held-out loss among those fitted with each penalty, fitted again on all rows.

    Also returns the logits of each row (N x values) by a head that was fitted without its fold.

    `inputs` are N x features, `allowed` the values that fit (N x values), `weights` the rows' weights (N), and `folds`
    their folds (N).
    """
    informative = torch.from_numpy(allowed.any(axis=1) & ~allowed.all(axis=1))
    masks = torch.from_numpy(allowed)
    losses = dict.fromkeys(PENALTIES, 0.0)
    held_out = {penalty: torch.zeros(allowed.shape) for penalty in PENALTIES}
    for fold in np.unique(folds):
        held = torch.from_numpy(folds == fold)
        fitted, judged = informative & ~held, informative & held
        for penalty in PENALTIES:
            head = _fit(start, inputs[fitted], masks[fitted], weights[fitted], penalty)
            held_out[penalty][held] = head.logits(inputs[held])
            losses[penalty] += float(_loss(head.logits(inputs[judged]), masks[judged], weights[judged]))
    best = min(losses, key=lambda penalty: losses[penalty])
    final = _fit(start, inputs[informative], masks[informative], weights[informative], best)
    return final, held_out[best]


def _fit(
    start: LinearHead, inputs: torch.Tensor, masks: torch.Tensor, weights: torch.Tensor, penalty: float
) -> LinearHead:
    weight, bias = start.weight.clone().requires_grad_(), start.bias.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        total = _loss(inputs @ weight.T + bias, masks, weights) / len(inputs)
        total = total + penalty * (weight - start.weight).square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)
    return LinearHead(weight.detach(), bias.detach())


def _loss(logits: torch.Tensor, masks: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The weighted sum of minus the log of the summed probability of the values that fit."""
    fitting = functional.log_softmax(logits, dim=1).masked_fill(~masks, float("-inf")).logsumexp(dim=1)
    return -(weights * fitting).sum()

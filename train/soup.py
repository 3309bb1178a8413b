"""The mean of several bundles' weights: one network, at the price of one, that is often better than any of them.

It works for networks of one lineage, which lie in one valley of the loss: runs that began with the same weights, or one
that went on from another's. Wortsman et al., "Model soups", arXiv 2203.05482; greedy as there, so never worse on val
than the best of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from model.bundle import Bundle
from train.dataset import CatalogueSplit
from train.inference import logits_of
from train.loss import mean_log_loss


def greedy_soup(bundles: Sequence[Bundle], val: CatalogueSplit) -> Bundle:
    """The bundles from the best to the worst by their log loss on `val`, each kept if the mean is no worse for it.

    All see `val`'s size. The result is the best bundle with the mean's backbone and attribute heads; its other heads
    and its calibration fit the best bundle's features, not the mean's. Raises ValueError where there is no mean.
    """
    ranked = sorted(bundles, key=lambda bundle: log_loss(bundle, val))
    kept, lowest = ranked[:1], log_loss(ranked[0], val)
    for bundle in ranked[1:]:
        loss = log_loss(mean_of([*kept, bundle]), val)
        if loss <= lowest:
            kept, lowest = [*kept, bundle], loss
    print(f"the mean of {len(kept)} of {len(bundles)} bundles, log loss {lowest:.4f}", flush=True)
    return mean_of(kept)


def mean_of(bundles: Sequence[Bundle]) -> Bundle:
    """The first with the mean of all bundles' backbones and attribute heads. Raises ValueError where they differ."""
    first = bundles[0]
    for other in bundles[1:]:
        if other.architecture != first.architecture:
            raise ValueError("bundles of different architectures have no mean")
        if other.taxonomy.attributes != first.taxonomy.attributes:
            raise ValueError("bundles of different taxonomies have no mean")
    shared = ("backbone.", *(f"heads.{name}." for name in first.taxonomy.attributes))
    weights = {
        name: torch.stack([bundle.weights[name].float() for bundle in bundles]).mean(dim=0)
        if name.startswith(shared) and tensor.is_floating_point()
        else tensor
        for name, tensor in first.weights.items()
    }
    return dataclasses.replace(first, weights=weights)


def log_loss(bundle: Bundle, val: CatalogueSplit) -> float:
    """The mean over the attributes' heads, uncalibrated."""
    logits = logits_of(bundle.network(), val.pixels, bundle.mean, bundle.std)
    tensors = {name: torch.from_numpy(logits[name]) for name in bundle.taxonomy.attributes}
    return mean_log_loss(tensors, val.targets)

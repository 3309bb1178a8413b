"""The mean of several bundles' weights: one network, at the price of one, that is often better than any of them.

It works for networks of one lineage, which lie in one valley of the loss: runs that began with the same weights, or one
that went on from another's. Wortsman et al., "Model soups", arXiv 2203.05482; greedy as there, so never worse on val
than the best of them, but with a share for each, as in their "Robust fine-tuning", arXiv 2109.01903.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from operator import itemgetter

import torch

from model.bundle import Bundle
from train.data.dataset import CatalogueSplit
from train.data.loss import mean_log_loss
from train.evaluation.inference import compute_logits

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)


def greedy_soup(bundles: Sequence[Bundle], val: CatalogueSplit) -> Bundle:
    """From the best bundle by its log loss on `val` to the worst, each interpolate in with the share that suits `val` best.

    All see `val`'s size. The result is the best bundle with the mean's backbone and attribute heads; its other heads
    and its calibration fit the best bundle's features, not the mean's. Raises ValueError where there is no mean.
    """
    (lowest, best), *others = sorted(((log_loss(each, val), each) for each in bundles), key=itemgetter(0))
    for _, other in others:
        means = [(share, interpolate(best, other, share)) for share in SHARES]
        loss, share, mean = min(((log_loss(mean, val), share, mean) for share, mean in means), key=itemgetter(0))
        if loss < lowest:
            lowest, best = loss, mean
        print(f"a mean of weights: share {share:.1f}, log loss {loss:.4f}, kept {lowest:.4f}", flush=True)
    return best


def interpolate(first: Bundle, other: Bundle, share: float) -> Bundle:
    """The first with `share` of the other in its backbone and attribute heads. Raises ValueError where they differ."""
    if other.architecture != first.architecture:
        raise ValueError("bundles of different architectures have no mean")
    if other.taxonomy.attributes != first.taxonomy.attributes:
        raise ValueError("bundles of different taxonomies have no mean")
    if (other.mean, other.std) != (first.mean, first.std):
        raise ValueError("bundles that normalise pictures differently have no mean")
    common = ("backbone.", *(f"heads.{name}." for name in first.taxonomy.attributes))
    weights = {
        name: torch.lerp(tensor.float(), other.weights[name].float(), share)
        if name.startswith(common) and tensor.is_floating_point()
        else tensor
        for name, tensor in first.weights.items()
    }
    return dataclasses.replace(first, weights=weights)


def log_loss(bundle: Bundle, val: CatalogueSplit) -> float:
    """The mean over the attributes' heads, uncalibrated."""
    logits = compute_logits(bundle.network(), val.pixels, bundle.mean, bundle.std)
    tensors = {name: torch.from_numpy(logits[name]) for name in bundle.taxonomy.attributes}
    return mean_log_loss(tensors, val.targets)

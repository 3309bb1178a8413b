"""Greedy model soup: the weighted average of several bundles' weights, at the inference cost of one network.

It works for networks of one lineage (runs that started from the same weights, or one that continued another), because
they lie in one basin of the loss. Greedy selection follows Wortsman et al., "Model soups", arXiv 2203.05482, so the
result is never worse on `val` than the best input. Each network is interpolated with its own weight, as in their
"Robust fine-tuning", arXiv 2109.01903.
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
"""Candidate interpolation weights of each further bundle."""


def greedy_soup(bundles: Sequence[Bundle], val: CatalogueSplit) -> Bundle:
    """Interpolate the bundles in order of their log loss on `val`, best first; keep each step that lowers it.

    All bundles are measured at the input size of `val`. The result is the best bundle with averaged backbone and
    attribute heads. Its other heads and its calibration are unchanged, so they no longer fit the averaged features.
    Raises ValueError if the bundles cannot be averaged.
    """
    (lowest, best), *others = sorted(((log_loss(each, val), each) for each in bundles), key=itemgetter(0))
    for _, other in others:
        means = [(share, interpolate(best, other, share)) for share in SHARES]
        loss, share, mean = min(((log_loss(mean, val), share, mean) for share, mean in means), key=itemgetter(0))
        if loss < lowest:
            lowest, best = loss, mean
        print(f"model soup: weight {share:.1f}, log loss {loss:.4f}, best {lowest:.4f}", flush=True)
    return best


def interpolate(first: Bundle, other: Bundle, share: float) -> Bundle:
    """Linear interpolation of backbone and attribute heads: (1 - share) * first + share * other.

    Raises ValueError if architecture, taxonomy or normalisation differ.
    """
    if other.architecture != first.architecture:
        raise ValueError("the weights of bundles with different architectures cannot be averaged")
    if other.taxonomy.attributes != first.taxonomy.attributes:
        raise ValueError("the weights of bundles with different taxonomies cannot be averaged")
    if (other.mean, other.std) != (first.mean, first.std):
        raise ValueError("the weights of bundles that normalise images differently cannot be averaged")
    common = ("backbone.", *(f"heads.{name}." for name in first.taxonomy.attributes))
    weights = {
        name: torch.lerp(tensor.float(), other.weights[name].float(), share)
        if name.startswith(common) and tensor.is_floating_point()
        else tensor
        for name, tensor in first.weights.items()
    }
    return dataclasses.replace(first, weights=weights)


def log_loss(bundle: Bundle, val: CatalogueSplit) -> float:
    """Mean log loss over the attribute heads, uncalibrated."""
    logits = compute_logits(bundle.network(), val.pixels, bundle.mean, bundle.std)
    tensors = {name: torch.from_numpy(logits[name]) for name in bundle.taxonomy.attributes}
    return mean_log_loss(tensors, val.targets)

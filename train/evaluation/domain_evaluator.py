"""Evaluation on generated images without a product, of kinds that the in_domain head was not trained on."""

from __future__ import annotations

from typing import Any

import numpy as np

from model.bundle import Bundle
from train.data.nonproducts import TEST_KINDS, draw_kind
from train.evaluation.inference import compute_logits, product_mask, tree_scores

PICTURES = 1000
"""Images per kind."""

SEED = 1


def evaluate_domain(bundle: Bundle, pictures: int = PICTURES) -> dict[str, Any]:
    """Per kind and overall, the shares of images taken for a product and answered.

    An image counts as answered if the tree's deepest level is (without a tree, the first attribute).
    """
    network, name = bundle.network(), bundle.taxonomy.leaf or next(iter(bundle.taxonomy.attributes))
    kinds = {}
    for kind, draw in TEST_KINDS.items():
        pixels = draw_kind(draw, pictures, bundle.size, SEED)
        logits = compute_logits(network, pixels, bundle.mean, bundle.std)
        taken = product_mask(logits, len(pixels))
        scores = tree_scores(logits, bundle.taxonomy, bundle.calibration, bundle.photo_factor)[name]
        is_confident = scores.max(axis=1) >= bundle.calibration[name].threshold
        kinds[kind] = {"taken": float(taken.mean()), "answered": float((taken & is_confident).mean())}
    return {
        "kind": "non-products",
        "split": "drawn",
        "bundle": bundle.name,
        "version": bundle.version,
        "rows": pictures * len(kinds),
        "attribute": name,
        "taken": float(np.mean([row["taken"] for row in kinds.values()])),
        "answered": float(np.mean([row["answered"] for row in kinds.values()])),
        "kinds": kinds,
    }

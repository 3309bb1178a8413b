"""A tiny bundle with seeded random weights, for tests of code that serves a bundle; made in well under a second.

Its answers are meaningless but behave like a real network's: they depend on the image, and most attributes are
answered. `season` never is, because its threshold is above 1.
"""

from __future__ import annotations

from pathlib import Path

import torch

from model.bundle import ALWAYS_ABSTAIN, Bundle, Calibration, save_bundle
from model.nets.network import PHOTO_HEAD, AttributeNetwork
from model.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from model.taxonomy import Taxonomy
from train.data.drawn import COLOURS, SEASONS, TYPES

ARCHITECTURE = "test_convnext"
SIZE = (48, 36)


def drawn_taxonomy() -> Taxonomy:
    """The taxonomy of the generated data set."""
    rows = TYPES.values()
    attributes = {
        "gender": tuple(sorted({gender for _, _, gender, _ in rows})),
        "baseColour": tuple(sorted(COLOURS)),
        "season": SEASONS,
        "usage": tuple(sorted({usage for _, _, _, usage in rows})),
        "articleType": tuple(sorted(TYPES)),
    }
    parents = {
        "articleType": {name: sub for name, (sub, _, _, _) in sorted(TYPES.items())},
        "subCategory": {sub: master for sub, master, _, _ in sorted(rows)},
    }
    return Taxonomy("tiny-1", attributes, parents)


def make_tiny_bundle(
    folder: Path, seed: int = 0, *, version: str = "0.0.1", threshold: float = 0.5, has_captioner: bool = False
) -> Path:
    """Write the tiny bundle to `folder` and return the folder. The same seed gives the same weights."""
    taxonomy = drawn_taxonomy()
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    outputs = {name: len(values) for name, values in taxonomy.attributes.items()}
    network = AttributeNetwork(ARCHITECTURE, outputs | {PHOTO_HEAD: 1})
    for head in network.heads.values():
        torch.nn.init.normal_(head.weight, std=2.0)  # type: ignore[arg-type]
    torch.set_rng_state(state)
    calibration = {name: Calibration(1.0, threshold, 0.9) for name in taxonomy.values}
    calibration["season"] = Calibration(1.0, ALWAYS_ABSTAIN, 0.8)
    bundle = Bundle(
        name="tiny",
        version=version,
        architecture=ARCHITECTURE,
        size=SIZE,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        calibration=calibration,
        photo_factor=1.5,
        taxonomy=taxonomy,
        weights=network.state_dict(),
        created="2026-11-23",
        metrics={},
        card="# tiny\nRandom weights for tests.\n",
    )
    if has_captioner:
        from train.synthetic.tiny_captioner import with_tiny_captioner  # transformers takes seconds to import

        bundle = with_tiny_captioner(bundle, seed)
    save_bundle(bundle, folder)
    return folder

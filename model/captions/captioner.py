"""Who writes the productDisplayName: the interface, and a writer that puts the sure attributes into one phrase.

Only what the heads are sure of is said, so the name never contradicts the attributes and never invents a brand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from model.answer import Embedding, Prediction
from model.taxonomy import TREE_LEVELS


@dataclass(frozen=True)
class Caption:
    """A name (None: nothing is sure enough to be named) and what wrote it.

    `embedding` is the picture's, where the captioner has one; `is_degraded` says that a better writer gave up.
    """

    text: str | None
    source: str
    embedding: Embedding | None = None
    is_degraded: bool = False


class Captioner(Protocol):
    """Writes one name per picture."""

    def caption(self, predictions: Sequence[Mapping[str, Prediction]], features: torch.Tensor) -> list[Caption]:
        """`features` is the last feature map, N x channels x h x w; returns N captions in the same order."""
        ...


class StructuredCaptioner:
    """Gender, colour, usage and the deepest sure category: "Men Navy Blue Casual Shirt"."""

    source = "structured"

    def __init__(self, levels: Sequence[str] = TREE_LEVELS) -> None:
        """`levels` are those of the taxonomy's tree, deepest first."""
        self._levels = levels

    def caption(self, predictions: Sequence[Mapping[str, Prediction]], features: torch.Tensor) -> list[Caption]:
        return [Caption(name_from(prediction, self._levels), self.source) for prediction in predictions]


PAIRS = frozenset(
    {
        "Booties",
        "Boxers",
        "Briefs",
        "Capris",
        "Churidar",
        "Cufflinks",
        "Dumbbells",
        "Earrings",
        "Flats",
        "Flops",
        "Glasses",
    }
    | {"Gloves", "Heels", "Jeans", "Jeggings", "Laces", "Leggings", "Pants", "Pyjamas", "Sandals", "Shoes", "Shorts"}
    | {"Socks", "Stockings", "Sunglasses", "Suspenders", "Tights", "Trousers", "Trunks"}
)
"""Last words that stay in the plural: one article is a pair, or a set."""

IRREGULAR = {
    "Kurtis": "Kurti",
    "Multi": "Multicoloured",
    "Scarves": "Scarf",
    "Ties": "Tie",
    "Ties and Cufflinks": "Tie and Cufflinks",
    "Tshirts": "T-shirt",
}
"""Values whose written form no rule gives."""


def name_from(predictions: Mapping[str, Prediction], levels: Sequence[str] = TREE_LEVELS) -> str | None:
    """A name from the sure values; None where not even a category (of the tree's `levels`) is sure."""
    sure = {name: prediction.value for name, prediction in predictions.items() if prediction.value is not None}
    category = next((sure[level] for level in levels if level in sure), None)
    if category is None:
        return None
    noun = singular(category)
    parts = [sure.get("gender"), IRREGULAR.get(sure.get("baseColour", ""), sure.get("baseColour")), sure.get("usage")]
    return " ".join([part for part in parts if part and part not in noun.split()] + [noun])


def singular(category: str) -> str:
    """A category as one article's name: Dresses to Dress, Watches to Watch, Jeans to Jeans."""
    if category in IRREGULAR:
        return IRREGULAR[category]
    *before, last = category.split()
    return " ".join([*before, last if last in PAIRS else _singular_word(last)])


def _singular_word(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "ches", "shes", "xes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word

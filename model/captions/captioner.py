"""The interface of captioners, which write the productDisplayName, and one that composes it from answered attributes.

Structured names use answered attributes only, so they never contradict the metadata and never invent a brand.
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
    """A display name and the captioner that wrote it ("decoder" or "structured").

    `text` is None if no category is answered. `embedding` is the image's, if the captioner computes one. `is_degraded`
    is True if the text replaces that of a captioner that failed or ran out of time.
    """

    text: str | None
    source: str
    embedding: Embedding | None = None
    is_degraded: bool = False


class Captioner(Protocol):
    """Writes one name per image."""

    def caption(self, predictions: Sequence[Mapping[str, Prediction]], features: torch.Tensor) -> list[Caption]:
        """N captions, in order, from N predictions and the last feature map, N x channels x h x w."""
        ...


class StructuredCaptioner:
    """Composes gender, colour, usage and the deepest answered category: "Men Navy Blue Casual Shirt"."""

    source = "structured"

    def __init__(self, levels: Sequence[str] = TREE_LEVELS) -> None:
        """`levels` are the levels of the taxonomy's tree, deepest first."""
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
"""Last words that stay plural, because one article is a pair or a set."""

IRREGULAR = {
    "Kurtis": "Kurti",
    "Multi": "Multicoloured",
    "Scarves": "Scarf",
    "Ties": "Tie",
    "Ties and Cufflinks": "Tie and Cufflinks",
    "Tshirts": "T-shirt",
}
"""Values whose form in names does not follow the rules of `singular`."""


def name_from(predictions: Mapping[str, Prediction], levels: Sequence[str] = TREE_LEVELS) -> str | None:
    """A name from the answered values, or None if none of the tree's `levels` is answered."""
    answers = {name: prediction.value for name, prediction in predictions.items() if prediction.value is not None}
    category = next((answers[level] for level in levels if level in answers), None)
    if category is None:
        return None
    noun = singular(category)
    colour = answers.get("baseColour")
    parts = [answers.get("gender"), IRREGULAR.get(colour or "", colour), answers.get("usage")]
    return " ".join([part for part in parts if part and part not in noun.split()] + [noun])


def singular(category: str) -> str:
    """The singular of a category: Dresses to Dress, Watches to Watch, but Jeans to Jeans."""
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

"""The interface of captioners, which write the productDisplayName, and one that composes it from answered attributes.

Structured names use answered attributes, so they never contradict the metadata and never invent a brand. Only the
article may be a guess: the best one within the answered category.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from model.answer import Embedding, Prediction
from model.taxonomy import Taxonomy


@dataclass(frozen=True)
class Caption:
    """A display name and the captioner that wrote it ("decoder" or "structured").

    `text` is None if no category is answered, or if a name would say nothing but the article. `embedding` is the
    image's, if the captioner computes one. `is_degraded` is True if the text replaces that of a captioner that failed
    or ran out of time.
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
    """Composes gender, colour and article: "Men Navy Blue Shirt"."""

    source = "structured"

    def __init__(self, taxonomy: Taxonomy) -> None:
        self._taxonomy = taxonomy

    def caption(self, predictions: Sequence[Mapping[str, Prediction]], features: torch.Tensor) -> list[Caption]:
        return [Caption(name_from(prediction, self._taxonomy), self.source) for prediction in predictions]


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


def name_from(predictions: Mapping[str, Prediction], taxonomy: Taxonomy) -> str | None:
    """A name from the answered values and the likely article; None if there is no such article or nothing to add.

    The usage is named only if neither gender nor colour is answered: catalogues seldom print it.
    """
    article = likely_article(predictions, taxonomy)
    if article is None:
        return None
    noun = singular(article)
    said = _said(article)
    answers = answers_beside(article, {name: row.value for name, row in predictions.items()}, taxonomy)
    gender, usage, colour = (_value_text(answers.get(name) or "", said) for name in ("gender", "usage", "baseColour"))
    parts = [part for part in (gender, colour) if part] or [usage if _is_apart(usage, article, taxonomy) else ""]
    return " ".join([*parts, noun]) if parts[0] else None


def likely_article(predictions: Mapping[str, Prediction], taxonomy: Taxonomy) -> str | None:
    """The answered article type; else the best guess within the deepest answered category. None without either.

    A category is no name that a shop prints ("Women Printed Topwear"). The guess agrees with the other answers.
    """
    if taxonomy.leaf is None or taxonomy.leaf not in predictions:
        return None
    best = predictions[taxonomy.leaf]
    if best.value is not None:
        return best.value
    answers = {name: row.value for name, row in predictions.items()}
    level = next((level for level in taxonomy.levels if answers.get(level) is not None), None)
    if level is None:
        return None
    within = [other.value for other in best.alternatives if taxonomy.ancestor(other.value, level) == answers[level]]
    return next((value for value in within if answers_beside(value, answers, taxonomy) == answers), None)


def answers_beside(article: str, answers: Mapping[str, str | None], taxonomy: Taxonomy) -> dict[str, str | None]:
    """The answers without those that the article's own words contradict: Formal beside "Casual Shoes"."""
    said = _said(article)
    kept = dict(answers)
    for name in taxonomy.attributes:
        answer = kept.get(name)
        if name == taxonomy.leaf or answer is None:
            continue
        implied = {value for value in taxonomy.values[name] if set(value.lower().split()) <= said}
        if implied and not any(set(value.lower().split()) <= set(answer.lower().split()) for value in implied):
            kept[name] = None
    return kept


def _said(article: str) -> set[str]:
    """The words of an article, also without a final s: "Mens Grooming Kit" says Men."""
    words = {word.lower() for word in singular(article).split()}
    return words | {word.removesuffix("s") for word in words}


def _is_apart(usage: str, article: str, taxonomy: Taxonomy) -> bool:
    """Whether usage and article do not read as another article: Casual before "Shoe Accessory" does."""
    text = f"{usage} {singular(article)}".lower()
    others = [value for value in taxonomy.values[taxonomy.levels[0]] if value != article]
    return not any(text.startswith(singular(value).lower().rstrip("s")) for value in others)


def _value_text(value: str, said: set[str]) -> str:
    """A value as it stands in names, without words that are said already: Smart before "Casual Shoes"."""
    return " ".join(word for word in IRREGULAR.get(value, value).split() if word.lower() not in said)


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

"""What the service says about one picture: predictions with scores, and the eight metadata keys made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from model.taxonomy import TREE_LEVELS

Embedding: TypeAlias = npt.NDArray[np.float16]
"""A picture (or words) as a vector of length 1: those alike in meaning lie close together."""

METADATA_KEYS = (
    "gender",
    "baseColour",
    "season",
    "usage",
    "articleType",
    "subCategory",
    "masterCategory",
    "productDisplayName",
)
"""The client's keys of the metadata, in the order in which they are written."""

ALTERNATIVES = 5


@dataclass(frozen=True)
class Alternative:
    """One value and its calibrated score, 0..1."""

    value: str
    score: float


@dataclass(frozen=True)
class Prediction:
    """The best guess for one attribute. `value` is None where `score` is below `threshold`, or no product is seen.

    A threshold above 1 means that the asked precision could not be reached: the attribute always abstains.
    `alternatives` holds the best five, the first being the best guess itself.
    """

    value: str | None
    score: float
    threshold: float
    alternatives: tuple[Alternative, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "score": round(self.score, 4),
            "threshold": self.threshold,
            "alternatives": [{"value": other.value, "score": round(other.score, 4)} for other in self.alternatives],
        }


@dataclass(frozen=True)
class Answer:
    """Metadata under the client's eight keys (or a shop's own), and the predictions behind all but the name.

    `caption_source` says what wrote the productDisplayName ("decoder": the bundle's captioner, from the picture;
    "structured": put together from the attributes). `is_degraded`: the captioner gave up on this batch, so the
    answer is not one to keep. `in_domain`, 0..1: how much the picture looks like one of a product; below .5 nothing is
    answered (None: the bundle cannot tell). The embedding is stored with an answer and is no part of its JSON.
    """

    metadata: dict[str, str | None]
    predictions: dict[str, Prediction]
    caption_source: str
    is_degraded: bool = False
    caption_ms: float = 0.0
    in_domain: float | None = None
    embedding: Embedding | None = field(default=None, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        return {
            "metadata": dict(self.metadata),
            "predictions": {name: prediction.to_json() for name, prediction in self.predictions.items()},
            "caption_source": self.caption_source,
            "in_domain": None if self.in_domain is None else round(self.in_domain, 4),
        }


def make_answer(predictions: Mapping[str, Prediction], name: str | None, caption_source: str) -> Answer:
    """Put the sure values and the name under their keys."""
    sure = {key: predictions[key].value if key in predictions else None for key in attribute_keys(predictions)}
    return Answer({**sure, METADATA_KEYS[-1]: name}, dict(predictions), caption_source)


def attribute_keys(attributes: Iterable[str]) -> list[str]:
    """The metadata's keys before the name.

    A taxonomy with the client's articleType keeps all of the client's keys, answered or not, and its further attributes
    follow; any other taxonomy has only its own.
    """
    own = list(attributes)
    clients = [*METADATA_KEYS[:-1]] if TREE_LEVELS[0] in own else []
    return clients + [name for name in own if name not in clients]

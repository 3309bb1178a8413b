"""The answer for one image: predictions with scores, and the metadata derived from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from model.taxonomy import TREE_LEVELS

Embedding: TypeAlias = npt.NDArray[np.float16]
"""An image or a text as a vector of L2 norm 1 in a common space; the dot product measures similarity."""

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
"""The client's metadata keys, in output order."""

ALTERNATIVES = 5
"""Maximum number of alternatives per prediction."""


@dataclass(frozen=True)
class Alternative:
    """One value and its calibrated score, 0..1."""

    value: str
    score: float


@dataclass(frozen=True)
class Prediction:
    """The prediction for one attribute. `value` is None if `score` is below `threshold` or the image shows no product.

    `score` is the calibrated score of the best guess, 0..1. A threshold above 1 means that the target precision could
    not be reached, so the attribute is never answered. `alternatives` are the best five values, best guess first.
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
    """Metadata under the client's eight keys (or a shop's own), and the predictions behind all keys but the name.

    `caption_source` is "decoder" if the bundle's captioner wrote the productDisplayName from the image, "structured" if
    it was composed from the attributes. `is_degraded` is True if the captioner failed or ran out of time; do not reuse
    such an answer for other jobs. `in_domain` is the probability that the image shows a product; below .5 all
    attributes are None. It is None if the bundle has no in_domain head. `embedding` is not part of the JSON.
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
    """Build an answer from predictions and a display name."""
    values = {key: predictions[key].value if key in predictions else None for key in attribute_keys(predictions)}
    return Answer({**values, METADATA_KEYS[-1]: name}, dict(predictions), caption_source)


def attribute_keys(attributes: Iterable[str]) -> list[str]:
    """The metadata keys without the name.

    A taxonomy with articleType has all of the client's keys, even those it does not predict, followed by its other
    attributes. Any other taxonomy has its own attributes only.
    """
    own = list(attributes)
    clients = [*METADATA_KEYS[:-1]] if TREE_LEVELS[0] in own else []
    return clients + [name for name in own if name not in clients]

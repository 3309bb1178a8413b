"""What a bundle holds of its captioner, as data: reading it needs none of the libraries that run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from model.captions.lexicon import Lexicon

PAD, BEGIN, END = 0, 1, 2
"""Control tokens; every captioner's tokenizer has them in these places."""


@dataclass(frozen=True)
class CaptionSizes:
    """`features` and `places` are the feature map's channels and h x w; `values` counts each attribute's values.

    The last attribute is the article type. `detail` is how much of a detail's rarity counts for it when names are
    written, for up to `details` words of at least `detail_chance` each (see `model/captions/decoding.py`).
    """

    vocabulary: int
    features: int
    places: int
    values: tuple[int, ...]
    width: int = 192
    heads: int = 4
    unimodal_layers: int = 2
    cross_layers: int = 2
    queries: int = 8
    embedding: int = 128
    max_tokens: int = 20
    dropout: float = 0.1
    detail: float = 0.7
    detail_chance: float = 0.03
    details: int = 3

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"values": list(self.values)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CaptionSizes:
        return cls(**(dict(data) | {"values": tuple(data["values"])}))


@dataclass(frozen=True)
class CaptionerParts:
    """Sizes, float32 weights, the words with what they say, and the tokenizer as the JSON of `tokenizers`."""

    sizes: CaptionSizes
    weights: dict[str, torch.Tensor]
    lexicon: Lexicon
    tokenizer: str

    def to_json(self) -> dict[str, Any]:
        """All but weights and tokenizer."""
        return {"sizes": self.sizes.to_json(), "lexicon": self.lexicon.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], weights: dict[str, torch.Tensor], tokenizer: str) -> CaptionerParts:
        """Raises KeyError, TypeError or AttributeError where the data is not what `to_json` gave."""
        return cls(CaptionSizes.from_json(data["sizes"]), weights, Lexicon.from_json(data["lexicon"]), tokenizer)

"""A bundle's captioner as data, without the libraries that run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from model.captions.lexicon import Lexicon

PAD, BEGIN, END = 0, 1, 2
"""Control tokens; every captioner's tokenizer has these ids for them."""


@dataclass(frozen=True)
class CaptionSizes:
    """Sizes and decoding parameters of a captioner.

    `features` and `places` are the feature map's channels and number of positions (h x w). `values` is the number of
    values per attribute; the last attribute is the article type. In decoding, up to `details` detail words with a
    probability of at least `detail_chance` get a bonus of `detail` times their rarity (see `model.captions.decoding`).
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
    """Sizes, float32 weights, lexicon, and the tokenizer as JSON of the `tokenizers` library."""

    sizes: CaptionSizes
    weights: dict[str, torch.Tensor]
    lexicon: Lexicon
    tokenizer: str

    def to_json(self) -> dict[str, Any]:
        """Sizes and lexicon; weights and tokenizer have files of their own."""
        return {"sizes": self.sizes.to_json(), "lexicon": self.lexicon.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], weights: dict[str, torch.Tensor], tokenizer: str) -> CaptionerParts:
        """Read the data of `to_json`. Raises KeyError, TypeError or AttributeError if it is invalid."""
        return cls(CaptionSizes.from_json(data["sizes"]), weights, Lexicon.from_json(data["lexicon"]), tokenizer)

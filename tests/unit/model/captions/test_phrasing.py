"""Phrasing of names: catalogue's order, partners that go together, no repetition."""

from __future__ import annotations

import pytest

from model.captions.lexicon import Lexicon, WordUse
from model.captions.phrasing import Phrasing
from model.captions.wording import CATEGORY
from model.taxonomy import Taxonomy

TAXONOMY = Taxonomy(
    "1",
    {
        "gender": ("Boys", "Men"),
        "baseColour": ("Black", "Navy Blue", "Silver"),
        "articleType": ("Tshirts", "Watches", "Casual Shoes", "Lip Care", "Jeans"),
    },
    parents={},
    levels=("articleType",),
)
LEXICON = Lexicon(
    words=(),
    fits={},
    needs={"gender": frozenset({"boys", "kids", "men"})},
    nouns=frozenset({CATEGORY, "t-shirt", "watch", "shoes", "casual_shoes", "lip_care", "jeans", "shadow"}),
    uses={
        "light": WordUse(after=("<colour>",)),
        "dial": WordUse(before=("<colour>", "toned"), is_late=True),
        "toned": WordUse(before=("<colour>",), is_late=True),
        "slim": WordUse(after=("fit",), is_late=True),
        "fit": WordUse(before=("slim",), is_late=True),
        "shadow": WordUse(before=("eye",)),
        "face": WordUse(before=(), after=()),
    },
)


@pytest.mark.parametrize(
    ("words", "article", "expected"),
    [
        ("men navy_blue striped t-shirt", "Tshirts", "men striped navy_blue t-shirt"),
        ("striped kids t-shirt boys", "Tshirts", "kids boys striped t-shirt"),
        ("men light navy_blue t-shirt", "Tshirts", "men light navy_blue t-shirt"),
        ("men light t-shirt", "Tshirts", "men t-shirt"),
        ("men black dial watch", "Watches", "men black dial watch"),
        ("men dial black watch", "Watches", "men black dial watch"),
        ("men dial watch", "Watches", "men watch"),
        ("men silver toned dial watch", "Watches", "men silver toned dial watch"),
        ("men toned dial watch", "Watches", "men watch"),
        ("men black slim fit jeans", "Jeans", "men black slim fit jeans"),
        ("men black slim jeans", "Jeans", "men black jeans"),
        ("men fit jeans", "Jeans", "men jeans"),
        ("men lip lip_care", "Lip Care", "men lip_care"),
        ("casual casual_shoes", "Casual Shoes", "casual_shoes"),
        ("men shadow", "Tshirts", "men t-shirt"),
        ("face <category>", "Lip Care", "lip_care"),
        ("men black", "Tshirts", "men black t-shirt"),
        ("men black <category>", None, ""),
        ("men black shoes", None, "men black shoes"),
    ],
)
def test_names_are_phrased_as_a_catalogue_prints_them(words: str, article: str | None, expected: str) -> None:
    assert " ".join(Phrasing(LEXICON, TAXONOMY).phrase(words.split(), article)) == expected


def test_lexicons_without_counted_uses_keep_their_order() -> None:
    plain = Lexicon(words=(), fits={}, needs=LEXICON.needs, nouns=LEXICON.nouns)
    assert Phrasing(plain, TAXONOMY).phrase(["black", "dial", "watch"], "Watches") == ["black", "dial", "watch"]


def test_uses_survive_json_and_old_lexicons_have_none() -> None:
    data = LEXICON.to_json()
    assert Lexicon.from_json(data).uses == LEXICON.uses
    del data["uses"]
    assert Lexicon.from_json(data).uses == {}

"""The checker of names finds each kind of fault, and the catalogue's uses of words are counted."""

from __future__ import annotations

import pytest

from model.captions.lexicon import Lexicon, WordUse
from model.captions.wording import CATEGORY
from model.taxonomy import Taxonomy
from train.data.catalogue import Item
from train.evaluation.naming.name_checker import NameRules, count_faults, find_faults
from train.evaluation.naming.word_uses import count_uses

TAXONOMY = Taxonomy(
    "1",
    {
        "gender": ("Boys", "Girls", "Men", "Unisex", "Women"),
        "baseColour": ("Black", "Blue", "Navy Blue", "Red", "Skin"),
        "articleType": ("Tshirts", "Watches", "Lip Care", "Belts", "Face Moisturisers", "Flip Flops"),
    },
    parents={
        "articleType": {
            "Tshirts": "Topwear",
            "Watches": "Watches",
            "Lip Care": "Lips",
            "Belts": "Belts",
            "Face Moisturisers": "Skin",
            "Flip Flops": "Flip Flops",
        },
        "subCategory": {
            "Topwear": "Apparel",
            "Watches": "Accessories",
            "Lips": "Personal Care",
            "Belts": "Accessories",
            "Skin": "Personal Care",
            "Flip Flops": "Footwear",
        },
    },
)
RULES = NameRules(
    TAXONOMY,
    {
        "light": WordUse(after=("<colour>",)),
        "dial": WordUse(before=("<colour>",), is_late=True),
        "face": WordUse(before=(), after=()),
    },
    frozenset({"shoes"}),
)
MEN_SHIRT = {"gender": "Men", "articleType": "Tshirts", "subCategory": "Topwear", "masterCategory": "Apparel"}
TOPWEAR = {"subCategory": "Topwear", "masterCategory": "Apparel"}
ACCESSORY = {"masterCategory": "Accessories"}


@pytest.mark.parametrize(
    ("name", "answers", "faults"),
    [
        (None, {}, []),
        ("Men Striped Navy Blue T-shirt", MEN_SHIRT, []),
        ("Men Light Blue T-shirt", MEN_SHIRT, []),
        ("Men Black Dial Watch", ACCESSORY, []),
        ("Black Belt", ACCESSORY, []),
        ("Light T-shirt", MEN_SHIRT, ["stranded: light"]),
        ("Men Dial Watch", ACCESSORY, ["stranded: dial"]),
        ("Dial Black Watch", ACCESSORY, ["stranded: dial", "order: dial"]),
        ("Women Printed Topwear", TOPWEAR, ["category: topwear"]),
        ("Red Accessory", ACCESSORY, ["category: accessory"]),
        ("Women Red Belt", TOPWEAR, ["other_article: belt"]),
        ("Women Lip Lip Care", {"articleType": "Lip Care"}, ["repeated: lip"]),
        ("Blue Striped T-shirt", MEN_SHIRT, ["order: blue"]),
        ("T-shirt Men", MEN_SHIRT, ["order: t-shirt"]),
        ("Kids Red T-shirt", MEN_SHIRT, ["kids: kids"]),
        ("Kids Boys Red T-shirt", MEN_SHIRT | {"gender": "Boys"}, []),
        ("Girls T-shirt", TOPWEAR, ["kids: girls"]),
        ("Watch", ACCESSORY, ["one_word: watch"]),
        ("Flip Flops", {"articleType": "Flip Flops"}, ["one_word: flip_flops"]),
    ],
)
def test_each_fault_is_found(name: str | None, answers: dict[str, str | None], faults: list[str]) -> None:
    assert find_faults(name, answers, RULES) == faults


def test_faults_are_counted_per_row() -> None:
    shares = count_faults(
        ["Light T-shirt", "Men Red T-shirt", None, "Watch"], [MEN_SHIRT, MEN_SHIRT, {}, ACCESSORY], RULES
    )
    assert {rule: share for rule, share in shares.items() if share} == {
        "stranded": 0.25,
        "one_word": 0.25,
        "unnamed": 0.25,
    }


def named(*names: str) -> list[Item]:
    return [
        Item(image=str(at), split="train", group=str(at), labels={}, name=name, is_small=None, brand="Acme")
        for at, name in enumerate(names)
    ]


def test_partners_and_places_are_counted_in_raw_names() -> None:
    words = ("light", "dial", "ml", "polo", "striped", "face", "t-shirt", "watch", CATEGORY)
    lexicon = Lexicon(words, {}, {"gender": frozenset({"men"})}, frozenset({"t-shirt", "watch", CATEGORY}))
    items = named(
        *["Acme Men Light Blue T-shirt"] * 20,
        *["Acme Men Black Dial Watch", "Acme Blue Dial Watch"] * 20,
        *["Acme Men 50 ml Watch"] * 20,
        *["Acme Men Striped T-shirt", "Acme Men Striped Red T-shirt"] * 20,
        *["Acme Men Red Polo T-shirt", "Acme Polo T-shirt"] * 20,
        *["Acme Face Wash"] * 20,
    )
    assert count_uses(items, TAXONOMY, lexicon) == {
        "light": WordUse(after=("<colour>",)),
        "dial": WordUse(before=("<colour>",), is_late=True),
        "ml": WordUse(before=()),
        "polo": WordUse(is_late=True),
        "face": WordUse(after=()),
    }

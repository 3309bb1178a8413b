"""Structured names: answered values only, in one natural phrase."""

from __future__ import annotations

import pytest

from model.answer import Alternative, Prediction
from model.captions.captioner import name_from, singular


def sure(**values: str) -> dict[str, Prediction]:
    return {name: Prediction(value, 0.9, 0.5, (Alternative(value, 0.9),)) for name, value in values.items()}


def unsure(**values: str) -> dict[str, Prediction]:
    return {name: Prediction(None, 0.4, 0.5, (Alternative(value, 0.4),)) for name, value in values.items()}


SHIRT = {"articleType": "Shirts", "subCategory": "Topwear", "masterCategory": "Apparel"}


def test_all_attributes_answered() -> None:
    predictions = sure(gender="Men", baseColour="Navy Blue", usage="Casual", season="Fall", **SHIRT)
    assert name_from(predictions) == "Men Navy Blue Casual Shirt"


def test_unanswered_values_are_left_out() -> None:
    assert name_from(sure(gender="Men", **SHIRT) | unsure(baseColour="Navy Blue", usage="Casual")) == "Men Shirt"


def test_the_deepest_answered_category_is_named() -> None:
    predictions = sure(baseColour="Black", subCategory="Topwear", masterCategory="Apparel")
    assert name_from(predictions | unsure(articleType="Shirts")) == "Black Topwear"


def test_without_a_category_there_is_no_name() -> None:
    assert name_from(sure(gender="Men", baseColour="Black") | unsure(**SHIRT)) is None


def test_no_word_is_repeated() -> None:
    assert name_from(sure(usage="Casual", articleType="Casual Shoes")) == "Casual Shoes"


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        ("Shirts", "Shirt"),
        ("Tshirts", "T-shirt"),
        ("Dresses", "Dress"),
        ("Watches", "Watch"),
        ("Jeans", "Jeans"),
        ("Flip Flops", "Flip Flops"),
        ("Track Pants", "Track Pants"),
        ("Accessories", "Accessory"),
        ("Booties", "Booties"),
        ("Ties", "Tie"),
        ("Scarves", "Scarf"),
        ("Briefs", "Briefs"),
        ("Dress", "Dress"),
        ("Waist Pouch", "Waist Pouch"),
        ("Perfume and Body Mist", "Perfume and Body Mist"),
        ("Hair Accessory", "Hair Accessory"),
        ("Innerwear Vests", "Innerwear Vest"),
    ],
)
def test_one_article_is_named_in_the_singular(category: str, expected: str) -> None:
    assert singular(category) == expected

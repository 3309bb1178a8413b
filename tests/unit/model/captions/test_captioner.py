"""Structured names: answered values only, in one natural phrase."""

from __future__ import annotations

import pytest

from model.answer import Alternative, Prediction
from model.captions.captioner import name_from, singular
from model.taxonomy import Taxonomy


def sure(**values: str) -> dict[str, Prediction]:
    return {name: Prediction(value, 0.9, 0.5, (Alternative(value, 0.9),)) for name, value in values.items()}


def unsure(**values: str) -> dict[str, Prediction]:
    return {name: Prediction(None, 0.4, 0.5, (Alternative(value, 0.4),)) for name, value in values.items()}


SHIRT = {"articleType": "Shirts", "subCategory": "Topwear", "masterCategory": "Apparel"}
TAXONOMY = Taxonomy(
    "1",
    {
        "gender": ("Boys", "Men", "Women"),
        "baseColour": ("Black", "Navy Blue"),
        "usage": ("Casual", "Formal", "Smart Casual", "Sports"),
        "articleType": ("Shirts", "Tops", "Mens Grooming Kit", "Casual Shoes", "Sports Shoes", "Shoe Accessories"),
    },
    parents={
        "articleType": {
            "Shirts": "Topwear",
            "Tops": "Topwear",
            "Mens Grooming Kit": "Skin Care",
            "Casual Shoes": "Shoes",
            "Sports Shoes": "Shoes",
            "Shoe Accessories": "Accessories",
        },
        "subCategory": {
            "Topwear": "Apparel",
            "Skin Care": "Personal Care",
            "Shoes": "Footwear",
            "Accessories": "Accessories",
        },
    },
)


def guessed(*articles: str) -> dict[str, Prediction]:
    """An unanswered article type with these guesses, best first."""
    ranked = tuple(Alternative(value, 0.4 - at / 10) for at, value in enumerate(articles))
    return {"articleType": Prediction(None, 0.4, 0.5, ranked)}


def test_gender_colour_and_article_are_named() -> None:
    predictions = sure(gender="Men", baseColour="Navy Blue", usage="Casual", season="Fall", **SHIRT)
    assert name_from(predictions, TAXONOMY) == "Men Navy Blue Shirt"


def test_the_usage_is_named_if_the_article_would_stand_alone() -> None:
    assert name_from(sure(usage="Formal", **SHIRT), TAXONOMY) == "Formal Shirt"
    assert name_from(sure(**SHIRT), TAXONOMY) is None


def test_unanswered_values_are_left_out() -> None:
    predictions = sure(gender="Men", **SHIRT) | unsure(baseColour="Navy Blue", usage="Casual")
    assert name_from(predictions, TAXONOMY) == "Men Shirt"


@pytest.mark.parametrize(
    ("answers", "guesses", "name"),
    [
        ({"subCategory": "Topwear", "masterCategory": "Apparel"}, ["Tops", "Shirts"], "Black Top"),
        ({"masterCategory": "Apparel"}, ["Shirts"], "Black Shirt"),
        ({"subCategory": "Topwear", "masterCategory": "Apparel"}, ["Casual Shoes", "Shirts"], "Black Shirt"),
        ({"subCategory": "Topwear", "masterCategory": "Apparel"}, ["Casual Shoes"], None),
        ({"usage": "Sports", "masterCategory": "Footwear"}, ["Casual Shoes", "Sports Shoes"], "Black Sports Shoes"),
        ({"gender": "Women", "masterCategory": "Personal Care"}, ["Mens Grooming Kit"], None),
        ({}, ["Shirts"], None),
    ],
)
def test_the_best_guess_within_the_answers_stands_for_an_unanswered_article(
    answers: dict[str, str], guesses: list[str], name: str | None
) -> None:
    assert name_from(sure(baseColour="Black", **answers) | guessed(*guesses), TAXONOMY) == name


@pytest.mark.parametrize(
    ("usage", "article", "name"),
    [
        ("Casual", "Casual Shoes", None),
        ("Smart Casual", "Casual Shoes", "Smart Casual Shoes"),
        ("Formal", "Casual Shoes", None),
        ("Casual", "Shoe Accessories", None),
    ],
)
def test_no_word_is_repeated_and_no_other_article_read(usage: str, article: str, name: str | None) -> None:
    assert name_from(sure(usage=usage, articleType=article), TAXONOMY) == name


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

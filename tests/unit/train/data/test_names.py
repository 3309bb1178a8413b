"""Cleaning names: each rule by example, and the count of the rows it touched."""

from __future__ import annotations

import pytest

from train.data.catalogue import Item, count_taxonomy
from train.data.names import (
    NameCleaner,
    brand_words,
    learn_cleaner,
    named_brands,
)

LABELS = {"gender": "Men", "baseColour": "Navy Blue", "usage": "Casual", "season": "Fall", "articleType": "Shirts"}
LABELS |= {"subCategory": "Topwear", "masterCategory": "Apparel"}
BRANDS = [f"Maker {letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]


def item(name: str, brand: str, group: str, **labels: str) -> Item:
    return Item("1", "train", group, LABELS | labels, name, None, brand)


@pytest.fixture(scope="module")
def rows() -> list[Item]:
    """Red striped shirts of many brands, tops of Red Rose, and shirts of Turtle with a word of its own."""
    many = [item(f"{brand} Men Red Striped Shirt", brand, f"g{at}") for at, brand in enumerate(BRANDS)]
    roses = [item("Red Rose Women Black Top", "Red Rose", f"r{at}") for at in range(3)]
    turtles = [item("Turtle Men Zebrano Shirt", "Turtle", f"t{at}") for at in range(9)]
    return [*many, *roses, *turtles]


@pytest.fixture
def cleaner(rows: list[Item]) -> NameCleaner:
    return learn_cleaner(rows, count_taxonomy(rows))


@pytest.mark.parametrize(
    ("name", "brand", "expected"),
    [
        ("Turtle Check Men Navy Blue Shirt", "Turtle", ["men", "navy_blue", "shirt"]),
        ("Maker A Men Red Stripes Shirts", "Maker A", ["men", "red", "striped", "shirt"]),
        ("Maker A Men Shirt MA1201", "Maker A", ["men", "shirt"]),
        ("Maker A Pack of 3 Men Shirts", "Maker A", ["men", "shirt"]),
        ("Red Rose Women Red Top", "Red Rose", ["red"]),
        ("Other Men Turtle Shirt", "Other", ["men", "shirt"]),
        ("Turtle Men Zebrano Shirt", "Turtle", ["men", "shirt"]),
        ("Maker A Men Red Red Shirt", "Maker A", ["men", "red", "shirt"]),
    ],
)
def test_words_an_image_cannot_show_are_removed(
    cleaner: NameCleaner, name: str, brand: str, expected: list[str]
) -> None:
    assert [word for word in cleaner.clean(item(name, brand, "x")) if word not in ("women", "top")] == expected


def test_the_rules_count_the_rows_they_touch(cleaner: NameCleaner) -> None:
    cleaner.clean(item("Turtle Men Shirt 12", "Turtle", "x"))
    cleaner.clean(item("Men Shirt", "", "y"))
    shares = cleaner.shares()
    assert shares["the row's own brand"] == 0.5
    assert shares["numbers and model codes"] == 0.5
    assert shares["filling words"] == 0


def test_general_words_are_no_brands_but_a_whole_name_is(rows: list[Item]) -> None:
    found = brand_words(["Red Rose", "Turtle", "Red"], rows)
    assert {"rose", "turtle", "red"} <= found
    assert "red" not in brand_words(["Red Rose", "Turtle"], rows)


def test_brands_are_found_by_word_and_in_full(cleaner: NameCleaner) -> None:
    names = ["Red Rose", "AND"]
    assert named_brands("Men Turtle Shirt", cleaner.brands, names, {}) == ["turtle"]
    assert named_brands("Red Rose Top", frozenset(), names, {}) == ["Red Rose"]
    phrases = {("tie", "and", "cufflinks"): "tie_and_cufflinks"}
    assert named_brands("Tie and Cufflinks", frozenset({"and"}), names, phrases) == []

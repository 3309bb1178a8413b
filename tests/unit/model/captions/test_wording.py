"""Normalisation of names: spelling, number, multi-word values, and back to readable text."""

from __future__ import annotations

import pytest

from model.captions.wording import (
    CATEGORY,
    phrases_of,
    text_of,
    value_word,
    words_of_name,
)

PHRASES = phrases_of(["Navy Blue", "Casual Shoes", "Flip Flops", "Shirts"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Turtle Check Men Navy Blue Shirt", ["turtle", "checked", "men", "navy_blue", "shirt"]),
        ("Nike Men's T20 Tee", ["nike", "men", "t20", "t-shirt"]),
        ("Catwalk Women Casual Shoes", ["catwalk", "women", "casual_shoes"]),
        ("Ripple Blue Flip Flop", ["ripple", "blue", "flip_flops"]),
        ("Women Round-Neck T Shirts", ["women", "round", "neck", "t-shirt"]),
        ("Navy Stripes", ["navy_blue", "striped"]),
        ("Multi-Coloured Kurtis", ["multicoloured", "kurti"]),
        ("", []),
    ],
)
def test_one_form_for_each_word(name: str, words: list[str]) -> None:
    assert words_of_name(name, PHRASES) == words


@pytest.mark.parametrize("value", ["Navy Blue", "Tshirts", "Perfume and Body Mist", "Ties and Cufflinks", "Dresses"])
def test_a_value_word_survives_writing_and_reading(value: str) -> None:
    word = value_word(value)
    assert words_of_name(text_of([word]), phrases_of([value])) == [word]


def test_a_name_reads_well() -> None:
    assert text_of(["men", "navy_blue", "printed", "t-shirt"]) == "Men Navy Blue Printed T-shirt"
    assert text_of(["women", CATEGORY, "top"]) == "Women Top"
    assert text_of(["tie_and_cufflinks"]) == "Tie and Cufflinks"

"""BLEU, ROUGE-L and CIDEr on worked examples."""

from __future__ import annotations

import math

import pytest

from train.evaluation.caption_scores import (
    bleu4,
    cider,
    common_length,
    rouge_l,
)

NAME = ["men", "navy", "blue", "checked", "casual", "shirt"]


def test_equal_texts_score_highest() -> None:
    others = [["women", "red", "printed", "long", "dress"], ["boys", "green", "striped", "polo", "t-shirt"]]
    names = [NAME, *others]
    assert bleu4(names, names) == pytest.approx(1)
    assert rouge_l(names, names) == pytest.approx(1)
    assert cider(names, names) == pytest.approx(10)


def test_bleu_of_papinenis_clipping_example() -> None:
    """Seven times "the" against "the cat is on the mat": two count, and no longer phrase is right."""
    caption, reference = ["the"] * 7, ["the", "cat", "is", "on", "the", "mat"]
    assert bleu4([caption], [reference]) == 0


def test_bleu_by_hand() -> None:
    """One word of six is wrong at the end: 5/6, 4/5, 3/4, 2/3 of the phrases of 1 to 4 words."""
    caption = [*NAME[:5], "jacket"]
    assert bleu4([caption], [NAME]) == pytest.approx((5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25)


def test_bleu_penalises_short_captions() -> None:
    """Four right words of six: every phrase is right, times exp(1 - 6/4)."""
    assert bleu4([NAME[:4]], [NAME]) == pytest.approx(math.exp(1 - 6 / 4))


def test_rouge_by_hand() -> None:
    """Lin's example: "police killed the gunman" against "police kill the gunman" and "the gunman kill police"."""
    reference = ["police", "killed", "the", "gunman"]
    assert common_length(["police", "kill", "the", "gunman"], reference) == 3
    assert common_length(["the", "gunman", "kill", "police"], reference) == 2
    assert rouge_l([["police", "kill", "the", "gunman"]], [reference]) == pytest.approx(0.75)
    assert rouge_l([["the", "gunman", "kill", "police"]], [reference]) == pytest.approx(0.5)


def test_rouge_of_nothing() -> None:
    assert rouge_l([[]], [NAME]) == 0
    assert rouge_l([[]], [[]]) == 1


def test_cider_by_hand() -> None:
    """Two names that share "men": it is in both, so it weighs nothing; one of the other two words is right."""
    references = [["men", "red", "shirt"], ["men", "blue", "cap"]]
    captions = [["men", "red", "cap"], ["men", "blue", "cap"]]
    ones = (0.5 + 1) / 2  # the cosine of (red, cap) and (red, shirt), all of one weight, is 1/2
    twos = (0.5 + 1) / 2  # (men red, red cap) and (men red, red shirt)
    threes = (0 + 1) / 2
    assert cider(captions, references) == pytest.approx(10 * (ones + twos + threes + 0) / 4)

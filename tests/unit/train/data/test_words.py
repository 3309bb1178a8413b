"""Words of product names as an auxiliary task: vocabulary, targets and loss."""

from __future__ import annotations

import math

import pytest
import torch

from train.data.catalogue import Item
from train.data.loss import word_loss
from train.data.words import (
    MIN_GROUPS,
    MIN_ROWS,
    count_words,
    word_targets,
    words_of,
)


def named(name: str, group: str) -> Item:
    return Item(image="1", split="train", group=group, labels={}, name=name, is_small=None)


def test_numbers_and_single_letters_are_no_words() -> None:
    assert words_of("Puma Men's Striped T-Shirt 2012 X5") == {"puma", "men", "striped", "shirt"}


def test_a_word_of_one_product_line_does_not_count() -> None:
    common = [named("Striped Shirt", f"group {row % MIN_GROUPS}") for row in range(MIN_ROWS)]
    line = [named("Zorro Shirt", "one group") for _ in range(MIN_ROWS)]
    rare = [named("Paisley Shirt", f"group {row}") for row in range(MIN_ROWS - 1)]
    assert count_words(common + line + rare) == ("shirt", "striped")


def test_targets_name_the_known_words_of_each_row() -> None:
    targets = word_targets([named("Striped Shirt", "a"), named("Unheard Of", "b")], ("shirt", "striped"))
    assert targets.tolist() == [[True, True], [False, False]]


def test_the_loss_is_lowest_when_a_names_words_share_the_probability() -> None:
    present = torch.tensor([[True, True, False]])
    even = torch.log(torch.tensor([[0.5, 0.5, 1e-9]]))
    assert float(word_loss(even, present)) == pytest.approx(math.log(2), abs=1e-5)
    assert float(word_loss(even.roll(1, 1), present)) > 5


def test_a_name_without_a_known_word_costs_nothing() -> None:
    logits = torch.randn(2, 3)
    both, none = torch.tensor([[True, False, False], [False] * 3]), torch.zeros(2, 3, dtype=torch.bool)
    assert float(word_loss(logits, both)) == pytest.approx(float(word_loss(logits[:1], both[:1])))
    assert float(word_loss(logits, none)) == 0

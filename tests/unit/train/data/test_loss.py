"""Losses compared with values computed by hand, and invariants of augmentation."""

from __future__ import annotations

import math

import pytest
import torch

from train.data.augment import (
    CATALOGUE,
    PHOTO,
    Augmentation,
    augment,
    paste_background,
)
from train.data.loss import (
    UNKNOWN,
    catalogue_loss,
    masked_cross_entropy,
    partial_label_loss,
)


def test_an_unknown_label_costs_nothing() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 5.0]], requires_grad=True)
    loss = masked_cross_entropy(logits, torch.tensor([0, UNKNOWN]))
    assert float(loss.detach()) == pytest.approx(math.log1p(math.exp(-2)))
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[1].abs().sum() == 0


def test_a_batch_without_labels_is_zero_and_not_nan() -> None:
    assert float(masked_cross_entropy(torch.randn(3, 4), torch.full((3,), UNKNOWN), 0.1)) == 0


def test_partial_labels_sum_the_allowed_probability() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    assert float(partial_label_loss(logits, torch.tensor([[False, True, True]]))) == pytest.approx(math.log(2))


@pytest.mark.parametrize("allowed", [True, False], ids=["everything", "nothing"])
def test_a_row_without_information_has_no_loss(allowed: bool) -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    loss = partial_label_loss(logits, torch.full((2, 3), allowed))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_one_allowed_value_is_cross_entropy() -> None:
    logits, target = torch.randn(4, 5), torch.tensor([0, 2, 4, 1])
    allowed = torch.nn.functional.one_hot(target, 5).bool()
    assert torch.allclose(partial_label_loss(logits, allowed), masked_cross_entropy(logits, target), atol=1e-6)


def test_heads_are_weighted() -> None:
    logits = {"a": torch.zeros(2, 2), "b": torch.zeros(2, 4)}
    targets = {"a": torch.tensor([0, 1]), "b": torch.tensor([3, 3])}
    loss = catalogue_loss(logits, targets, {"a": 1.0, "b": 0.5}, 0.0)
    assert float(loss) == pytest.approx(math.log(2) + 0.5 * math.log(4))


@pytest.mark.parametrize("how", [CATALOGUE, PHOTO])
def test_augmentation_keeps_shape_and_range(how: Augmentation) -> None:
    pixels = torch.randint(0, 256, (6, 48, 36, 3), dtype=torch.uint8)
    images = augment(pixels, how, torch.Generator().manual_seed(1))
    assert images.shape == pixels.shape
    assert float(images.min()) >= 0
    assert float(images.max()) <= 255


def test_catalogue_colours_keep_their_hue() -> None:
    pixels = torch.zeros(16, 48, 36, 3, dtype=torch.uint8)
    pixels[..., 0], pixels[..., 1] = 180, 60
    images = augment(pixels, CATALOGUE, torch.Generator().manual_seed(2))
    centre = images[:, 20:28, 14:22].mean(dim=(1, 2))
    assert (centre[:, 0] > centre[:, 1]).all()
    assert (centre[:, 1] > centre[:, 2]).all()


def test_augmentation_follows_its_seed() -> None:
    pixels = torch.randint(0, 256, (4, 48, 36, 3), dtype=torch.uint8)
    one, other = (augment(pixels, PHOTO, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, other)


def test_a_background_changes_only_white_and_only_chosen_rows() -> None:
    pixels = torch.full((2, 48, 36, 3), 255, dtype=torch.uint8)
    pixels[:, 10:30, 10:30] = 40
    photos = torch.full((3, 48, 36, 3), 120, dtype=torch.uint8)
    chosen = torch.tensor([True, False])
    result = paste_background(pixels, photos, chosen, torch.Generator().manual_seed(4))
    assert torch.equal(result[1], pixels[1])
    assert (result[0, 10:30, 10:30] == 40).all()
    assert (result[0, 40:] < 200).all()

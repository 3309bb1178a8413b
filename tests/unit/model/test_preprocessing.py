"""Preprocessing: size, aspect ratio, white padding, colour modes, and the normalised tensor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from model.preprocessing import fit, stack, to_input


@pytest.mark.parametrize("size", [(300, 400), (400, 300), (60, 80), (1, 1), (2000, 3), (7, 900)])
def test_every_shape_becomes_the_asked_size(size: tuple[int, int]) -> None:
    pixels = fit(Image.new("RGB", size, "red"), (96, 72))
    assert pixels.shape == (96, 72, 3)
    assert pixels.dtype == np.uint8


def test_the_aspect_is_kept_and_the_rest_is_white() -> None:
    pixels = fit(Image.new("RGB", (100, 50), (10, 20, 30)), (96, 72))
    inside = np.all(pixels == (10, 20, 30), axis=2)
    assert inside.sum() == 72 * 36
    assert inside[30:66].all()
    assert (pixels[~inside] == 255).all()


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_other_modes_are_converted_to_rgb(mode: str) -> None:
    assert fit(Image.new(mode, (30, 40)), (48, 36)).shape == (48, 36, 3)


def test_a_small_picture_and_its_enlargement_look_alike() -> None:
    small = Image.new("RGB", (60, 80), "white")
    small.paste((180, 20, 20), (15, 20, 45, 60))
    enlarged = small.resize((300, 400), Image.Resampling.BICUBIC)
    difference = np.abs(fit(small, (96, 72)).astype(int) - fit(enlarged, (96, 72)).astype(int))
    assert difference.mean() < 2


def test_the_tensor_is_normalised_and_channels_first() -> None:
    arrays = [np.zeros((4, 3, 3), dtype=np.uint8), np.full((4, 3, 3), 255, dtype=np.uint8)]
    tensor = to_input(stack(arrays), mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 0.5))
    assert tensor.shape == (2, 3, 4, 3)
    assert torch.equal(tensor[0, 1], torch.full((4, 3), -2.0))
    assert torch.equal(tensor[1, 0], torch.full((4, 3), 1.0))

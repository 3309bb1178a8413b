"""Preprocessing of decoded images, shared by training, evaluation and serving.

`fit` resizes one image and does not use torch, so it can run in decode threads; `to_input` normalises a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

Pixels: TypeAlias = npt.NDArray[np.uint8]
"""uint8, height x width x 3, RGB."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
WHITE = (255, 255, 255)


def fit(image: Image.Image, size: tuple[int, int]) -> Pixels:
    """Resize an image to fit into `size` = (height, width), keep its aspect ratio, centre it and pad with white.

    The padding is white because catalogue images have a white background.
    """
    height, width = size
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    scale = min(height / rgb.height, width / rgb.width)
    inner = (max(1, round(rgb.width * scale)), max(1, round(rgb.height * scale)))
    scaled = rgb.resize(inner, Image.Resampling.BICUBIC, reducing_gap=3.0)
    canvas = Image.new("RGB", (width, height), WHITE)
    canvas.paste(scaled, ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return np.array(canvas, dtype=np.uint8)


def stack(arrays: Sequence[Pixels]) -> torch.Tensor:
    """Images of equal size as one uint8 tensor, N x H x W x 3."""
    return torch.from_numpy(np.stack(arrays))


def to_input(
    pixels: torch.Tensor, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
) -> torch.Tensor:
    """N x H x W x 3 in 0..255 (uint8 or float) to normalised float32 N x 3 x H x W in channels-last memory format."""
    scaled = pixels.permute(0, 3, 1, 2).to(torch.float32) / 255.0
    shape = (1, 3, 1, 1)
    means = torch.tensor(mean, device=pixels.device).view(shape)
    stds = torch.tensor(std, device=pixels.device).view(shape)
    return ((scaled - means) / stds).contiguous(memory_format=torch.channels_last)

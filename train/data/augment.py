"""Augmentation of whole batches, in torch.

Colour is a label, so catalogue images keep hue and saturation and change only slightly in brightness. Photos have no
colour label, so their white balance may change too. Two in three catalogue images are 60x80, and season correlates with
size; so part of every batch is downscaled and upscaled again, to keep the network from reading the size off the blur.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """Strength of each augmentation.

    `crop` is the smallest and `widen` the largest visible share of each side; `shift` is in half image sizes, `rotate`
    in radians. `brightness` and `white_balance` bound the logarithm of a gain. `degrade` is the share of the batch that
    is downscaled.
    """

    crop: float
    widen: float
    shift: float
    rotate: float
    brightness: float
    white_balance: float
    degrade: float


CATALOGUE = Augmentation(crop=0.85, widen=1.05, shift=0.05, rotate=0.03, brightness=0.1, white_balance=0, degrade=0.2)
PHOTO = Augmentation(crop=0.65, widen=1.2, shift=0.10, rotate=0.30, brightness=0.40, white_balance=0.10, degrade=0.3)


def augment(pixels: torch.Tensor, how: Augmentation, random: torch.Generator) -> torch.Tensor:
    """Augment a batch: uint8 N x H x W x 3 to float32 N x H x W x 3, 0..255."""
    images = pixels.permute(0, 3, 1, 2).to(torch.float32).contiguous()
    images = _degrade(_warp(images, how, random), how, random)
    return _light(images, how, random).permute(0, 2, 3, 1)


def paste_background(
    pixels: torch.Tensor, photos: torch.Tensor, chosen: torch.Tensor, random: torch.Generator
) -> torch.Tensor:
    """Replace the white background of the chosen catalogue images (N, bool) by a blurred photo; uint8 in and out.

    Near-white pixels count as background, with a soft transition, so do not choose light-coloured articles.
    """
    rows = chosen.nonzero().squeeze(1)
    if len(rows) == 0 or len(photos) == 0:
        return pixels
    picked = torch.randint(len(photos), (len(rows),), generator=random)
    images = pixels[rows].permute(0, 3, 1, 2).float()
    scenes = functional.interpolate(photos[picked].permute(0, 3, 1, 2).float(), size=(6, 5), mode="area")
    scenes = functional.interpolate(scenes, size=images.shape[2:], mode="bicubic", align_corners=False)
    grain = torch.randn(scenes.shape, generator=random) * 6
    opaque = ((250 - images.amin(dim=1, keepdim=True)) / 15).clamp(0, 1)
    mixed = opaque * images + (1 - opaque) * (scenes + grain)
    result = pixels.clone()
    result[rows] = mixed.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return result


def _warp(images: torch.Tensor, how: Augmentation, random: torch.Generator) -> torch.Tensor:
    """Random crop or zoom out, shift, small rotation and flip in one resampling; the outside is white."""
    count, _, height, width = images.shape
    zoom = _uniform(count, how.crop, how.widen, random)
    aspect = torch.exp(_uniform(count, -0.1, 0.1, random))
    angle = _uniform(count, -how.rotate, how.rotate, random)
    flip = torch.randint(0, 2, (count,), generator=random) * 2.0 - 1
    room = (1 - zoom).clamp(min=0) + how.shift
    cosine, sine, ratio = torch.cos(angle), torch.sin(angle), height / width
    matrix = torch.empty(count, 2, 3)
    matrix[:, 0, 0] = zoom * aspect * cosine * flip
    matrix[:, 0, 1] = -zoom * sine * ratio
    matrix[:, 1, 0] = zoom * sine / ratio * flip
    matrix[:, 1, 1] = zoom / aspect * cosine
    matrix[:, 0, 2] = _uniform(count, -1, 1, random) * room
    matrix[:, 1, 2] = _uniform(count, -1, 1, random) * room
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images - 255, grid, mode="bilinear", align_corners=False) + 255


def _degrade(images: torch.Tensor, how: Augmentation, random: torch.Generator) -> torch.Tensor:
    """Downscale a share of the batch to .55 to .9 of its size and upscale it again; one size per call."""
    chosen = torch.rand(len(images), generator=random) < how.degrade
    if not chosen.any():
        return images
    scale = float(_uniform(1, 0.55, 0.9, random))
    small = functional.interpolate(images[chosen], scale_factor=scale, mode="bilinear", antialias=True)
    result = images.clone()
    result[chosen] = functional.interpolate(small, size=images.shape[2:], mode="bilinear")
    return result


def _light(images: torch.Tensor, how: Augmentation, random: torch.Generator) -> torch.Tensor:
    """Random gain, contrast around the image's mean, and (for photos) a gain per channel."""
    count = len(images)
    gain = torch.exp(_uniform(count, -how.brightness, how.brightness, random)).view(-1, 1, 1, 1)
    contrast = torch.exp(_uniform(count, -how.brightness / 2, how.brightness / 2, random)).view(-1, 1, 1, 1)
    balance = torch.exp(_uniform(count * 3, -1, 1, random) * how.white_balance).view(count, 3, 1, 1)
    centre = images.mean(dim=(1, 2, 3), keepdim=True)
    return (((images - centre) * contrast + centre) * gain * balance).clamp(0, 255)


def _uniform(count: int, low: float, high: float, random: torch.Generator) -> torch.Tensor:
    return torch.rand(count, generator=random) * (high - low) + low

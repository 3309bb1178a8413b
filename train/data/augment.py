"""Augmentation of a whole batch at once, on uint8 pictures in torch.

Colour is a label, so catalogue pictures keep hue and saturation and change only a little in brightness; photos have
no colour label and may also shift in white balance. Two in three catalogue pictures are 60x80 and season follows the
size, so a part of every batch is brought down to a random small size and back: the tier cannot be read off the blur.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """How strongly to change pictures. `crop` is the smallest side kept (1: none), `widen` the largest zoom out."""

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
    """uint8 N x H x W x 3 to float 0..255 N x H x W x 3, changed at random."""
    images = pixels.permute(0, 3, 1, 2).to(torch.float32).contiguous()
    images = _degrade(_warp(images, how, random), how, random)
    return _light(images, how, random).permute(0, 2, 3, 1)


def paste_background(
    pixels: torch.Tensor, photos: torch.Tensor, chosen: torch.Tensor, random: torch.Generator
) -> torch.Tensor:
    """Put the chosen catalogue pictures (N bool) on a blurred patch of a photo instead of on white; uint8 throughout.

    Near-white is taken as background, softly, so callers choose only rows whose own colour is not a light one.
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
    """Random crop or zoom out, shift, small rotation and flip in one sampling; outside is white."""
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
    """A share of the batch down to .55 to .9 of its size and back up; one size per call."""
    chosen = torch.rand(len(images), generator=random) < how.degrade
    if not chosen.any():
        return images
    scale = float(_uniform(1, 0.55, 0.9, random))
    small = functional.interpolate(images[chosen], scale_factor=scale, mode="bilinear", antialias=True)
    result = images.clone()
    result[chosen] = functional.interpolate(small, size=images.shape[2:], mode="bilinear")
    return result


def _light(images: torch.Tensor, how: Augmentation, random: torch.Generator) -> torch.Tensor:
    """Random gain on all channels together, contrast around the picture's mean, and white balance for photos."""
    count = len(images)
    gain = torch.exp(_uniform(count, -how.brightness, how.brightness, random)).view(-1, 1, 1, 1)
    contrast = torch.exp(_uniform(count, -how.brightness / 2, how.brightness / 2, random)).view(-1, 1, 1, 1)
    balance = torch.exp(_uniform(count * 3, -1, 1, random) * how.white_balance).view(count, 3, 1, 1)
    centre = images.mean(dim=(1, 2, 3), keepdim=True)
    return (((images - centre) * contrast + centre) * gain * balance).clamp(0, 255)


def _uniform(count: int, low: float, high: float, random: torch.Generator) -> torch.Tensor:
    return torch.rand(count, generator=random) * (high - low) + low

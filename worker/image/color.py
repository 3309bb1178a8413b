"""Converts every pixel layout to 8-bit RGB in sRGB, with transparent images composited on white."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

from core.errors import ImageUndecodable

_SIXTEEN_BIT = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_WITH_ALPHA = frozenset({"RGBA", "LA", "PA", "La", "RGBa"})
_DEEP = frozenset({"I", "F"})


def to_rgb(image: Image.Image) -> Image.Image:
    """Returns the loaded image in mode RGB. Raises ImageUndecodable for 32-bit pixels, whose range is unspecified."""
    if image.mode in _DEEP:
        raise ImageUndecodable("The picture has 32-bit pixels: save it with 8 or 16 bits per channel.")
    if image.mode in _SIXTEEN_BIT:
        return _from_sixteen_bit(image).convert("RGB")
    profile = image.info.get("icc_profile")
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        image = _on_white(image)
    if profile and image.mode in ("RGB", "CMYK"):
        image = _in_srgb(image, profile)
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_sixteen_bit(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips every value above 255 to white.
    pixels = np.asarray(image)
    if isinstance(transparent := image.info.get("transparency"), int):
        pixels = np.where(pixels == transparent, 0xFFFF, pixels)
    return Image.fromarray((pixels >> 8).astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    # Catalogues show cut-out products on white; black could be taken for a colour of the product.
    picture = image.convert("RGBA")
    flat = Image.new("RGB", picture.size, "white")
    flat.paste(picture, mask=picture.getchannel("A"))
    return flat


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    if b"sRGB" in profile:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image  # an image with a broken profile is still usable
    return converted or image

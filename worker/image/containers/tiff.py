"""Grey TIFFs of 12 and 16 bits, which Pillow reads with values that depend on tags it leaves to the caller."""

from __future__ import annotations

import numpy as np
from PIL import Image, TiffImagePlugin

_PHOTOMETRIC = 262
_BITS = 258
_WHITE_IS_ZERO = 0

# Pillow opens these layouts in only one of the two byte orders.
for _order, _mode in ((b"II*\0", "I;16"), (b"MM\0*", "I;16B")):
    for _photometric in (0, 1):
        TiffImagePlugin.OPEN_INFO.setdefault((_order[:2], _photometric, (1,), 1, (16,), ()), (_mode, _mode))
        TiffImagePlugin.OPEN_INFO.setdefault((_order[:2], _photometric, (1,), 1, (12,), ()), ("I;16", "I;12"))


def gray_settings(opened: Image.Image) -> tuple[int, bool] | None:
    """Returns the bits per pixel and whether 0 is white, for a grey TIFF of 12 or 16 bits that was just opened."""
    tags = getattr(opened, "tag_v2", None)
    if tags is None or not opened.mode.startswith("I;16"):
        return None
    return int(tags.get(_BITS, (16,))[0]), tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def scaled(image: Image.Image, bits: int, *, white_is_zero: bool) -> Image.Image:
    """Returns the 16-bit picture over the whole range, with black = 0."""
    pixels = np.asarray(image).astype(np.uint32)
    most = 2**bits - 1
    pixels = np.minimum(pixels, most) * 65535 // most
    return Image.fromarray((65535 - pixels if white_is_zero else pixels).astype(np.uint16))

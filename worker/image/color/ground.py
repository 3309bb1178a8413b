"""Puts transparent pictures on a plain ground."""

from __future__ import annotations

import numpy as np
from PIL import Image

WHITE = (255, 255, 255)
# As light as contrast allows, because the model names fewer colours on darker ground.
GRAY = (210, 210, 210)
# A product is white if the lowest channel of most pixels is high, which excludes pale colours, and of few is low.
_MEDIAN_OF_WHITE = 232
_DARKEST_OF_WHITE = 190
_SAMPLE = 128


def on_ground(colors: Image.Image, alpha: Image.Image) -> Image.Image:
    """Returns the RGB picture on white, as catalogues show products, or on grey if the product itself is white.

    alpha: mode L, of the same size; 0 = transparent.
    """
    flat = Image.new("RGB", colors.size, GRAY if _is_white(colors, alpha) else WHITE)
    flat.paste(colors, mask=alpha)
    return flat


def _is_white(colors: Image.Image, alpha: Image.Image) -> bool:
    size = min(colors.width, _SAMPLE), min(colors.height, _SAMPLE)
    # Nearest neighbour, because hidden pixels at the edge must not be mixed in.
    lowest = np.asarray(colors.resize(size, Image.Resampling.NEAREST)).min(axis=2)
    visible = lowest[np.asarray(alpha.resize(size, Image.Resampling.NEAREST)) > 127]
    if visible.size == 0:
        return False
    darkest, median = np.percentile(visible, (10, 50))
    return bool(median >= _MEDIAN_OF_WHITE and darkest >= _DARKEST_OF_WHITE)

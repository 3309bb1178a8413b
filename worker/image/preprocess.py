"""From a file's bytes to what the model takes: the one way, for the service and for `enrich predict` alike."""

from __future__ import annotations

import dataclasses

from core.settings import DecodeSettings
from model.predictor import Predictor
from model.preprocessing import Pixels
from worker.image.decode import decode


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture ready for the model. `width` and `height` are the original's in pixels, upright."""

    pixels: Pixels
    width: int
    height: int
    format: str


def prepare(data: bytes, predictor: Predictor, limits: DecodeSettings) -> Picture:
    """Decodes and brings to the model's size. Raises UnsupportedMediaType, ImageTooLarge, ImageUndecodable."""
    decoded = decode(data, limits, target=max(predictor.bundle.size))
    return Picture(predictor.preprocess(decoded.image), decoded.width, decoded.height, decoded.format)

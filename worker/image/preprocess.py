"""Turns an image file into the model's input, for the service and for `enrich predict` alike."""

from __future__ import annotations

import dataclasses

from core.settings import DecodeSettings
from model.predictor import Predictor
from model.preprocessing import Pixels
from worker.image.decode import decode


@dataclasses.dataclass(frozen=True)
class ModelInput:
    """An image at the model's input size. `width` and `height` are those of the upright original, in pixels."""

    pixels: Pixels
    width: int
    height: int
    format: str


def preprocess(data: bytes, predictor: Predictor, limits: DecodeSettings) -> ModelInput:
    """Decodes and resizes an image. Raises UnsupportedMediaType, ImageTooLarge, ImageUndecodable."""
    decoded = decode(data, limits, target=max(predictor.bundle.size))
    return ModelInput(predictor.preprocess(decoded.image), decoded.width, decoded.height, decoded.format)

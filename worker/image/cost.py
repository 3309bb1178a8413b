"""Counts what decoding a file costs, in milliseconds and without decoding, and refuses what costs too much."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.errors import ImageTooLarge, ImageUndecodable
from core.settings import DecodeSettings
from worker.image.formats import format_of, without_leading_junk
from worker.image.headers import bmp, boxes, gif, jpeg, png, tiff, webp
from worker.image.headers.claim import Claimed

# Photos come in these, and their libraries are the most used and the most tested.
_ORDINARY = frozenset({"JPEG", "PNG", "WEBP"})
_MEGA = 1_000_000
_USUAL_SCANS = 10
"""Scans of a progressive JPEG by libjpeg's own script."""


@dataclass(frozen=True)
class Cost:
    """What decoding one picture costs.

    megapixels: decoded at a time, which determine the memory.
    passes: over these pixels, which determine the time with them.
    """

    format: str
    megapixels: float
    passes: int = 1

    def is_ordinary(self, limits: DecodeSettings) -> bool:
        """Whether the picture may be decoded in the worker's own process, where nothing can stop a decoder."""
        most = limits.ordinary_megapixels
        return (
            self.format in _ORDINARY
            and self.megapixels <= most
            and self.megapixels * self.passes <= most * _USUAL_SCANS
        )


def count_cost(data: bytes, limits: DecodeSettings) -> Cost:
    """Counts the cost of decoding a file.

    A file whose headers do not say its size counts as the largest picture that is taken.
    Raises UnsupportedMediaType, ImageTooLarge, ImageUndecodable.
    """
    data = without_leading_junk(data)
    name = format_of(data)
    claimed = _claimed(data, name, limits)
    check_size(claimed.width, claimed.height, limits)
    _check_work(claimed, limits)
    return Cost(name, (claimed.area or limits.max_pixels) / _MEGA, claimed.passes)


def check_size(width: int, height: int, limits: DecodeSettings) -> None:
    """Raises ImageTooLarge if the picture has too many pixels or is too long."""
    if width * height > limits.max_pixels:
        raise ImageTooLarge(f"The picture is {width} x {height}: at most {limits.max_pixels} pixels in all are taken.")
    if max(width, height) > limits.max_side:
        raise ImageTooLarge(f"The picture is {width} x {height}: at most {limits.max_side} pixels a side are taken.")


def _claimed(data: bytes, name: str, limits: DecodeSettings) -> Claimed:
    readers: dict[str, Callable[[bytes], Claimed]] = {
        "JPEG": lambda data: jpeg.read(data, limits.max_scans),
        "PNG": png.read,
        "WEBP": webp.read,
        "GIF": gif.read,
        "BMP": bmp.read,
        "TIFF": tiff.read,
        "AVIF": boxes.read,
        "HEIF": boxes.read,
    }
    return readers[name](data)


def _check_work(claimed: Claimed, limits: DecodeSettings) -> None:
    if claimed.passes > limits.max_scans:
        raise ImageUndecodable(
            f"The picture has more than {limits.max_scans} scans: save it as a baseline JPEG, or with ten scans."
        )
    if claimed.area * claimed.passes > limits.max_scanned_megapixels * _MEGA:
        raise ImageTooLarge(
            f"The picture is {claimed.width} x {claimed.height} with {claimed.passes} scans: "
            "save it smaller, or as a baseline JPEG."
        )
    # Tiles at the edges reach beyond the picture, but never by more than the picture itself.
    if claimed.area > 2 * limits.max_pixels:
        raise ImageTooLarge(
            f"The picture is put together from {claimed.area} pixels: at most {2 * limits.max_pixels} are taken."
        )

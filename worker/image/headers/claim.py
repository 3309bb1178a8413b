"""What the headers of one file claim."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import ImageUndecodable

MAX_PARTS = 50_000
"""Readers spend microseconds of Python on every part, however short. Real files have hundreds."""


@dataclass(frozen=True)
class Claimed:
    """The size of the picture and the work that decoding it takes.

    width, height: in pixels, 0 if no header says them.
    pixels: that are decoded for one pass, if more than width × height: tiles, or the layers of a derived picture.
    passes: how often the decoder goes over these pixels: the scans of a JPEG.
    is_slow: whether Pillow decodes the file in Python.
    """

    width: int
    height: int
    pixels: int = 0
    passes: int = 1
    is_slow: bool = False

    @property
    def area(self) -> int:
        """Pixels that are decoded for one pass."""
        return max(self.pixels, self.width * self.height)


UNKNOWN = Claimed(0, 0)


def check_parts(count: int, parts: str, most: int = MAX_PARTS) -> None:
    """Raises ImageUndecodable if the file has more parts than any real one."""
    if count > most:
        raise ImageUndecodable(f"The file has more than {most} {parts}: save the picture again.")

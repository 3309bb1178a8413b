"""Reads the colour of a BMP file from its version 4 or 5 header (BITMAPV5HEADER of the Windows GDI)."""

from __future__ import annotations

import struct

from worker.image.color.icc import Parametric, Point, Primaries, rgb_profile

_FILE_HEADER_BYTES = 14
_V4_BYTES = 108
_V5_BYTES = 124
_CALIBRATED_RGB = 0
_EMBEDDED = 0x4D424544  # "MBED"


def profile_in(data: bytes) -> bytes | None:
    """Returns the embedded ICC profile, one made of the header's end points and gammas, or None."""
    try:
        size = struct.unpack_from("<I", data, _FILE_HEADER_BYTES)[0]
        if size not in (_V4_BYTES, _V5_BYTES):
            return None
        kind = struct.unpack_from("<I", data, _FILE_HEADER_BYTES + 56)[0]
        if kind == _EMBEDDED and size == _V5_BYTES:
            start, length = struct.unpack_from("<II", data, _FILE_HEADER_BYTES + 112)
            return data[_FILE_HEADER_BYTES + start :][:length] or None
        return _calibrated(data) if kind == _CALIBRATED_RGB else None
    except (struct.error, ValueError, ZeroDivisionError):
        return None


def _calibrated(data: bytes) -> bytes | None:
    values = struct.unpack_from("<9i3I", data, _FILE_HEADER_BYTES + 60)
    ends = [tuple(value / 2**30 for value in values[at : at + 3]) for at in (0, 3, 6)]
    gamma = values[10] / 2**16
    if not all(sum(end) > 0 for end in ends) or not 0.2 < gamma < 10:
        return None
    red, green, blue = (_point(end) for end in ends)
    white = _point(tuple(sum(channel) for channel in zip(*ends, strict=True)))
    return rgb_profile(Primaries(red, green, blue, white), Parametric(gamma))


def _point(xyz: tuple[float, ...]) -> Point:
    return xyz[0] / sum(xyz), xyz[1] / sum(xyz)

"""Finds the description of a picture's colours, in the order that browsers use."""

from __future__ import annotations

import struct

from worker.image.color.cicp import CodePoints, Source
from worker.image.color.icc import SRGB_CURVE, SRGB_PRIMARIES, Parametric, Primaries, gray_profile, rgb_profile
from worker.image.containers import bmp, png


def png_source(color: dict[bytes, bytes], mode: str) -> Source:
    """Returns what the colour chunks of a PNG say: cICP before iCCP before sRGB before gAMA and cHRM."""
    if len(chunk := color.get(b"cICP", b"")) == 4 and chunk[2] == 0:
        return CodePoints(chunk[0], chunk[1])
    if (chunk := color.get(b"iCCP", b"")) and (profile := png.profile_in(chunk)):
        return profile
    if b"sRGB" in color:
        return None
    return _measured(color.get(b"gAMA", b""), color.get(b"cHRM", b""), mode)


def plain_source(name: str, data: bytes, info: dict[str | tuple[int, int], object]) -> Source:
    """Returns what a file other than PNG says of its colours; HEIC's and AVIF's code points are read from its boxes."""
    profile = info.get("icc_profile")
    if isinstance(profile, bytes) and profile:
        return profile
    return bmp.profile_in(data) if name == "BMP" else None


def _measured(gamma: bytes, chromaticities: bytes, mode: str) -> bytes | None:
    """Returns a profile of gAMA and cHRM, each of which has a default."""
    curve, primaries = SRGB_CURVE, SRGB_PRIMARIES
    if len(gamma) == 4 and 16 <= (value := int.from_bytes(gamma, "big")) <= 625_000_000:
        curve = Parametric(min(100_000 / value, 100.0))
    if len(chromaticities) == 32:
        white, red, green, blue = ((x / 1e5, y / 1e5) for x, y in struct.iter_unpack(">II", chromaticities))
        primaries = Primaries(red, green, blue, white)
    if (curve, primaries) == (SRGB_CURVE, SRGB_PRIMARIES):
        return None
    try:
        return gray_profile(curve) if mode in ("1", "L", "LA", "I;16") else rgb_profile(primaries, curve)
    except ValueError:
        return None

"""Builds ICC profiles from primaries and transfer curves, for pictures that describe their colour in another way.

With a profile for every description, one colour engine converts all pictures. The profiles have the matrix/TRC form of
ICC.1:2022, section 8.3, which is enough for any RGB space.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Point = tuple[float, float]
"""A chromaticity (x, y) of CIE 1931."""

D50_XYZ = (0.9642, 1.0, 0.8249)
D65: Point = (0.3127, 0.3290)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


@dataclass(frozen=True)
class Primaries:
    """Chromaticities of the three primaries and of white."""

    red: Point
    green: Point
    blue: Point
    white: Point = D65


SRGB_PRIMARIES = Primaries((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))


@dataclass(frozen=True)
class Parametric:
    """The curve `y = (a x + b) ** g` from `d` on and `y = c x` below it, with x and y in 0..1."""

    g: float
    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 0.0


SRGB_CURVE = Parametric(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def rgb_profile(primaries: Primaries, curve: Parametric | Array) -> bytes:
    """Returns an ICC profile.

    curve: from the signal to linear light; as an array, samples at equal distances over 0..1 with values in 0..1.
    Raises ValueError if the primaries span no colour space.
    """
    columns = to_xyz_d50(primaries).T
    trc = _curve_tag(curve)
    tags = {
        b"desc": _text_tag("RGB"),
        b"cprt": _text_tag("CC0"),
        b"wtpt": _xyz_tag(D50_XYZ),
        b"rXYZ": _xyz_tag(columns[0]),
        b"gXYZ": _xyz_tag(columns[1]),
        b"bXYZ": _xyz_tag(columns[2]),
        b"rTRC": trc,
        b"gTRC": trc,
        b"bTRC": trc,
    }
    return _profile(b"RGB ", tags)


def gray_profile(curve: Parametric | Array) -> bytes:
    """Returns an ICC profile of a grey space; see `rgb_profile`."""
    tags = {
        b"desc": _text_tag("Gray"),
        b"cprt": _text_tag("CC0"),
        b"wtpt": _xyz_tag(D50_XYZ),
        b"kTRC": _curve_tag(curve),
    }
    return _profile(b"GRAY", tags)


def to_xyz_d50(primaries: Primaries) -> Array:
    """Returns the 3 x 3 matrix from linear RGB to XYZ with white adapted to D50 (Bradford)."""
    white = _xyz(primaries.white)
    columns = np.stack([_xyz(primaries.red), _xyz(primaries.green), _xyz(primaries.blue)], axis=1)
    if abs(np.linalg.det(columns)) < 1e-6:
        raise ValueError("the primaries lie on one line")
    scaled = columns * np.linalg.solve(columns, white)
    cones = (_BRADFORD @ np.array(D50_XYZ)) / (_BRADFORD @ white)
    adapted: Array = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ scaled
    if not np.isfinite(adapted).all() or np.abs(adapted).max() > 100:
        raise ValueError("the primaries are no colours")
    return adapted


def _xyz(point: Point) -> Array:
    x, y = point
    if y <= 0:
        raise ValueError("a chromaticity has no luminance")
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _fixed(value: float) -> int:
    """Returns the value as s15Fixed16Number."""
    return round(float(value) * 65536)


def _xyz_tag(xyz: Sequence[float] | Array) -> bytes:
    return struct.pack(">4sI3i", b"XYZ ", 0, *(_fixed(value) for value in xyz))


def _text_tag(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return struct.pack(">4sIII4sII", b"mluc", 0, 1, 12, b"enUS", len(encoded), 28) + encoded


def _curve_tag(curve: Parametric | Array) -> bytes:
    if isinstance(curve, Parametric):
        values = (curve.g, curve.a, curve.b, curve.c, curve.d)
        return struct.pack(">4sIHH5i", b"para", 0, 3, 0, *(_fixed(value) for value in values))
    samples = np.clip(np.rint(np.asarray(curve) * 65535), 0, 65535).astype(">u2")
    return struct.pack(">4sII", b"curv", 0, len(samples)) + samples.tobytes()


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, body = b"", b""
    start = 128 + 4 + 12 * len(tags)
    placed: dict[bytes, int] = {}
    for name, data in tags.items():
        if data not in placed:
            placed[data] = start + len(body)
            body += data + bytes(-len(data) % 4)
        table += struct.pack(">4sII", name, placed[data], len(data))
    header = struct.pack(
        ">I4sI4s4s4s12s4s4sIIIQI3i",
        0,
        b"",
        0x04200000,
        b"mntr",
        space,
        b"XYZ ",
        b"",
        b"acsp",
        b"",
        0,
        0,
        0,
        0,
        0,
        *(_fixed(value) for value in D50_XYZ),
    )
    header += bytes(128 - len(header))
    whole = header + struct.pack(">I", len(tags)) + table + body
    return struct.pack(">I", len(whole)) + whole[4:]

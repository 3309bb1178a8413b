"""Draws one picture in many colour spaces, with arithmetic of its own as the reference: nothing here uses our code."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.float64]
"""Shape (height, width, 3), values in 0..1."""

WIDTH, HEIGHT = 96, 64
Curve = Callable[[Pixels], Pixels]


def original() -> npt.NDArray[np.uint8]:
    """Returns the truth in sRGB: ramps of grey and of colours, light and dark patches."""
    x, y = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
    bands = np.stack([x, 0.25 + 0.5 * y, 1 - x], axis=-1)
    bands[: HEIGHT // 4] = x[: HEIGHT // 4, :, None]
    bands[HEIGHT // 4 : HEIGHT // 2] = np.stack([0.9 * x, 0.1 + 0 * x, 0.2 * (1 - x)], axis=-1)[
        HEIGHT // 4 : HEIGHT // 2
    ]
    return np.rint(bands * 255).astype(np.uint8)


def original_gray() -> npt.NDArray[np.uint8]:
    x, y = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
    return np.rint(255 * (0.85 * x + 0.15 * y)).astype(np.uint8)


def _srgb_to_linear(value: Pixels) -> Pixels:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(value: Pixels) -> Pixels:
    return np.where(value <= 0.0031308, value * 12.92, 1.055 * np.clip(value, 0, None) ** (1 / 2.4) - 0.055)


def _gamma(exponent: float) -> Curve:
    return lambda value: np.clip(value, 0, 1) ** (1 / exponent)


def pq(value: Pixels) -> Pixels:
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = np.clip(value * 203 / 10_000, 0, 1) ** m1
    return ((c1 + c2 * power) / (1 + c3 * power)) ** m2


def hlg(value: Pixels) -> Pixels:
    scene = (np.clip(value, 0, None) * 0.203) ** (1 / 1.2)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)


@dataclass(frozen=True)
class Space:
    """A colour space: x and y of red, green, blue and white, and the curve from linear light to the signal."""

    xy: tuple[tuple[float, float], ...]
    encode: Curve
    gamma: float | None = None


_D65 = (0.3127, 0.3290)
_SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), _D65)
_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65)
_BT2020 = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65)
SPACES = {
    "srgb": Space(_SRGB, linear_to_srgb),
    "adobe": Space(((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), _D65), _gamma(2.19921875), 2.19921875),
    "p3": Space(_P3, linear_to_srgb),
    "prophoto": Space(((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), (0.3457, 0.3585)), _gamma(1.8), 1.8),
    "linear": Space(_SRGB, lambda value: value, 1.0),
    "gamma1.4": Space(_SRGB, _gamma(1.4), 1.4),
    "bt2020": Space(_BT2020, linear_to_srgb),
    "pq": Space(_BT2020, pq),
    "hlg": Space(_BT2020, hlg),
}


def _to_xyz(space: Space) -> Pixels:
    """Returns the matrix from linear RGB to XYZ with white at D50."""
    xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in space.xy]).T
    matrix = xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    ratio = (bradford @ np.array([0.9642, 1, 0.8249])) / (bradford @ xyz[:, 3])
    return np.linalg.inv(bradford) @ np.diag(ratio) @ bradford @ matrix


def linear(truth: npt.NDArray[np.uint8]) -> Pixels:
    """Returns linear light in 0..1 of sRGB values in 0..255."""
    return _srgb_to_linear(truth / 255)


def encoded(truth: npt.NDArray[np.uint8], name: str) -> Pixels:
    """Returns the signal in 0..1 that shows the sRGB picture (or grey picture) in another space."""
    light = linear(truth)
    if truth.ndim == 3:
        change = np.linalg.inv(_to_xyz(SPACES[name])) @ _to_xyz(SPACES["srgb"])
        light = light @ change.T
    return np.clip(SPACES[name].encode(np.clip(light, 0, 1)), 0, 1)


def eight_bit(signal: Pixels) -> npt.NDArray[np.uint8]:
    return np.rint(signal * 255).astype(np.uint8)


def chunk(kind: bytes, content: bytes, *, checksum: int | None = None) -> bytes:
    crc = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def png(signal: Pixels, *chunks: bytes, bits: int = 8, alpha: bool = False) -> bytes:
    """Returns a PNG of 8 or 16 bits with extra chunks before its pixels."""
    if signal.ndim == 2:
        signal = signal[..., None]
    channels = signal.shape[2]
    if alpha:
        signal = np.concatenate([signal, np.ones((*signal.shape[:2], 1))], axis=2)
    kind = {(1, False): 0, (1, True): 4, (3, False): 2, (3, True): 6}[channels, alpha]
    values = np.rint(signal * (2**bits - 1)).astype(">u2" if bits == 16 else "u1")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    header = struct.pack(">IIBBBBB", signal.shape[1], signal.shape[0], bits, kind, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def iccp(profile: bytes, name: bytes = b"profile") -> bytes:
    return chunk(b"iCCP", name + b"\0\0" + zlib.compress(profile))


def gama(exponent: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(100_000 / exponent)))


def chrm(name: str) -> bytes:
    red, green, blue, white = SPACES[name].xy
    return chunk(
        b"cHRM", struct.pack(">8I", *(round(value * 1e5) for point in (white, red, green, blue) for value in point))
    )


def cicp(primaries: int, transfer: int) -> bytes:
    return chunk(b"cICP", bytes([primaries, transfer, 0, 1]))


def saved(signal: Pixels, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(eight_bit(signal)).save(stream, kind, **options)
    return stream.getvalue()


def with_code_points(data: bytes, primaries: int, transfer: int) -> bytes:
    """Returns an AVIF or HEIC file with other code points in its `colr` box."""
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


def difference(image: Image.Image, truth: npt.NDArray[np.uint8]) -> float:
    """Returns the mean absolute difference, of 255."""
    if truth.ndim == 2:
        truth = np.repeat(truth[..., None], 3, axis=2)
    pixels = np.asarray(image)
    assert pixels.shape == truth.shape
    return float(np.abs(pixels.astype(int) - truth).mean())

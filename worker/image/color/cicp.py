"""Colour as code points (ITU-T H.273): the primaries and the transfer curve that PNG's cICP, AVIF and HEIC name.

Curves of television (BT.709, BT.601, BT.2020) count as that of sRGB, as in browsers. HDR pictures (PQ, HLG) are
tone-mapped: reference white, 203 cd/m² (ITU-R BT.2408), becomes white, and light above it is compressed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worker.image.color.icc import SRGB_CURVE, SRGB_PRIMARIES, Array, Parametric, Point, Primaries, rgb_profile

REFERENCE_WHITE_NITS = 203.0
_PQ_PEAK_NITS = 10_000.0
_HLG_PEAK_NITS = 1_000.0
_HLG_SYSTEM_GAMMA = 1.2
_SAMPLES = 4096
# Signal values up to this share of white are shown as they are. Above it, highlights share the rest.
_KNEE = 0.8

_C: Point = (0.310, 0.316)
_DCI_WHITE: Point = (0.314, 0.351)
_PRIMARIES = {
    1: SRGB_PRIMARIES,
    4: Primaries((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C),
    5: Primaries((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),
    6: Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    7: Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),
    8: Primaries((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C),
    9: Primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    10: Primaries((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1 / 3, 1 / 3)),
    11: Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _DCI_WHITE),
    12: Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    22: Primaries((0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),
}
_CURVES = {
    4: Parametric(2.2),
    5: Parametric(2.8),
    7: Parametric(1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4.0, 0.0912),
    8: Parametric(1.0),
    17: Parametric(2.6),
}
_PQ = 16
_HLG = 18


@dataclass(frozen=True)
class CodePoints:
    """Code points of H.273. Unknown and unspecified values (2) count as sRGB's."""

    primaries: int
    transfer: int

    @property
    def is_hdr(self) -> bool:
        return self.transfer in (_PQ, _HLG)

    @property
    def is_srgb(self) -> bool:
        return self.primaries not in _PRIMARIES.keys() - {1} and self.transfer not in _CURVES and not self.is_hdr


Source = bytes | CodePoints | None
"""What describes a picture's colours: an ICC profile, code points, or nothing, which means sRGB."""


def profile_of(points: CodePoints, highest: int = 255) -> bytes:
    """Returns an ICC profile for the code points.

    highest: the highest signal value of the picture, in 0..255. An HDR picture is compressed no more than it needs.
    """
    primaries = _PRIMARIES.get(points.primaries, SRGB_PRIMARIES)
    if points.is_hdr:
        return rgb_profile(primaries, _tone_curve(points.transfer, highest))
    return rgb_profile(primaries, _CURVES.get(points.transfer, SRGB_CURVE))


def _tone_curve(transfer: int, highest: int) -> Array:
    signal = np.linspace(0.0, 1.0, _SAMPLES)
    light = _light(transfer, signal)
    peak = float(_light(transfer, np.array([min(highest, 255) / 255]))[0])
    return _compressed(light, peak)


def _light(transfer: int, signal: Array) -> Array:
    """Returns display light for a signal, 1 = reference white."""
    nits = _pq_nits(signal) if transfer == _PQ else _hlg_nits(signal)
    return nits / REFERENCE_WHITE_NITS


def _pq_nits(signal: Array) -> Array:
    # SMPTE ST 2084.
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = signal ** (1 / m2)
    linear: Array = np.maximum(power - c1, 0) / (c2 - c3 * power)
    return _PQ_PEAK_NITS * linear ** (1 / m1)


def _hlg_nits(signal: Array) -> Array:
    # ITU-R BT.2100, with the system gamma applied per channel instead of to the luminance.
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    light: Array = _HLG_PEAK_NITS * scene**_HLG_SYSTEM_GAMMA
    return light


def _compressed(light: Array, peak: float) -> Array:
    """Maps 0..peak to 0..1: unchanged up to the knee, then along a curve that starts with the same slope."""
    if peak <= 1:
        return np.minimum(light, 1.0)
    room, span = 1 - _KNEE, peak - _KNEE
    above = np.clip((light - _KNEE) / span, 0, 1)
    # Slope 1 at the knee, and exactly 1 at the peak.
    shoulder = _KNEE + room * above * (span / room) / (1 + above * (span / room - 1))
    return np.where(light <= _KNEE, light, shoulder)

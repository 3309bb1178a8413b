"""JPEG: segments up to the first scan, then the number of scans (ITU-T T.81, annex B)."""

from __future__ import annotations

import re

from worker.image.headers.claim import UNKNOWN, Claimed, check_parts

MAX_REPEATED = 64
"""Pillow joins Exif segments, in quadratic time, and walks Photoshop's resources in Python."""

MAX_JUNK = 65_536
"""Pillow skips bytes between segments one by one."""

_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SOS, _EOI, _APP1, _APP13 = 0xDA, 0xD9, 0xE1, 0xED
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
# In entropy-coded data, FF 00 is a byte FF, FF D0 to D7 are restarts, and further FFs are padding.
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")


def read(data: bytes, max_scans: int) -> Claimed:
    """Counts scans, up to one more than `max_scans`."""
    size, scans, junk, at = (0, 0), 0, 0, 2
    parts: dict[str, int] = {}
    while match := _MARKER.search(data, at):
        marker = match[1][0]
        if not scans:
            junk += match.start() - at
            check_parts(junk, "bytes between its segments", MAX_JUNK)
        at = match.end()
        if marker == _EOI:
            break
        if marker in _ALONE:
            continue
        _count(parts, data, marker, at)
        if marker in _SOF and len(data) >= at + 7:
            size = (int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 3 : at + 5], "big"))
        at += max(2, int.from_bytes(data[at : at + 2], "big"))
        if marker == _SOS:
            scans += 1
            if scans > max_scans:
                break
    return Claimed(*size, passes=max(1, scans)) if all(size) else UNKNOWN


def _count(parts: dict[str, int], data: bytes, marker: int, at: int) -> None:
    kinds = ["segments"]
    if marker == _APP1 and data.startswith(b"Exif\0\0", at + 2):
        kinds.append("Exif segments")
    if marker == _APP13:
        kinds.append("Photoshop segments")
    for kind in kinds:
        parts[kind] = parts.get(kind, 0) + 1
        check_parts(parts[kind], kind, 10_000 if kind == "segments" else MAX_REPEATED)

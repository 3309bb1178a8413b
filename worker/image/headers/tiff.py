"""TIFF and BigTIFF: the first directory (TIFF 6.0, section 2)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from worker.image.headers.claim import UNKNOWN, Claimed, check_parts

MAX_ENTRIES = 4096
MAX_STRIPS = 100_000
"""Pillow and libtiff make an object of each strip or tile. Rows of three planes at 20,000 a side are 60,000."""

_WIDTH, _HEIGHT, _COMPRESSION, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 259, 322, 323
_OFFSETS = (273, 324)  # of strips, of tiles
_JPEG = frozenset({6, 7})
_SIZES = {1: "B", 3: "H", 4: "L", 16: "Q"}


@dataclass(frozen=True)
class _Entry:
    count: int
    value: int  # of the first element, where the entry holds it


def read(data: bytes) -> Claimed:
    entries = _directory(data)

    def value(tag: int) -> int:
        return entries[tag].value if tag in entries else 0

    width, height = value(_WIDTH), value(_HEIGHT)
    if not width or not height:
        return UNKNOWN
    strips = max(entries[tag].count if tag in entries else 0 for tag in _OFFSETS)
    check_parts(strips, "strips or tiles", MAX_STRIPS)
    scans = data.count(b"\xff\xda") if value(_COMPRESSION) in _JPEG else 1
    tiled = _tiled(width, height, value(_TILE_WIDTH), value(_TILE_HEIGHT))
    return Claimed(width, height, tiled, passes=max(1, scans // max(1, strips)))


def _directory(data: bytes) -> dict[int, _Entry]:
    order = "<" if data.startswith(b"II") else ">"
    is_big = data[2:4] in (b"+\0", b"\0+")
    row = struct.Struct(order + ("HHQ8s" if is_big else "HHL4s"))
    entries: dict[int, _Entry] = {}
    try:
        (at,) = struct.unpack_from(order + ("Q" if is_big else "L"), data, 8 if is_big else 4)
        (count,) = struct.unpack_from(order + ("Q" if is_big else "H"), data, at)
        check_parts(count, "entries in its directory", MAX_ENTRIES)
        start = at + (8 if is_big else 2)
        for number in range(count):
            tag, kind, length, held = row.unpack_from(data, start + number * row.size)
            if tag in entries or kind not in _SIZES:  # as Pillow does, the first entry counts
                continue
            entries[tag] = _Entry(length, struct.unpack_from(order + _SIZES[kind], held)[0])
    except (struct.error, OverflowError):
        pass  # a truncated directory: what came before counts
    return entries


def _tiled(width: int, height: int, tile_width: int, tile_height: int) -> int:
    """Returns the pixels of all tiles. Those at the edges are decoded whole."""
    if not tile_width or not tile_height:
        return 0
    return -(-width // tile_width) * tile_width * (-(-height // tile_height)) * tile_height

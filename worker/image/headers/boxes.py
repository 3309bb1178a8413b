"""AVIF and HEIC: items and what they are derived from (ISO 14496-12 and 23008-12).

A grid or overlay is decoded item by item, also if all are the same item, so its cost is the sum of its parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from core.errors import ImageUndecodable
from worker.image.headers.claim import UNKNOWN, Claimed, check_parts

MAX_ITEMS = 10_000
MAX_DEPTH = 8
_DERIVED = frozenset({b"grid", b"iovl", b"iden", b"tmap"})


@dataclass
class _Meta:
    primary: int = 0
    size_of: dict[int, tuple[int, int]] = field(default_factory=dict)
    kinds: dict[int, bytes] = field(default_factory=dict)
    parts: dict[int, list[int]] = field(default_factory=dict)  # what a derived item is made of
    planes: dict[int, list[int]] = field(default_factory=dict)  # alpha and depth, which are items of their own
    boxes: int = 0


def read(data: bytes) -> Claimed:
    meta = _Meta()
    # libavif decodes the track of an image sequence instead of its primary item.
    track = (0, 0)
    for kind, start, end in _boxes(data, 0, len(data), meta):
        if kind == b"meta":
            _read_meta(data, start + 4, end, meta)
        elif kind == b"moov":
            track = _largest_track(data, start, end, meta)
    width, height = meta.size_of.get(meta.primary, (0, 0))
    pixels = max(_pixels(meta, meta.primary, {}, 0), track[0] * track[1])
    if not width or not height:
        width, height = track
    return Claimed(width, height, pixels) if width and height else UNKNOWN


def _boxes(data: bytes, start: int, end: int, meta: _Meta) -> Iterator[tuple[bytes, int, int]]:
    """Yields kind, start and end of the content of each box in a range. Stops where a box does not fit."""
    while start + 8 <= end:
        size, kind, head = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        elif size == 0:
            size = end - start
        if size < head:
            return
        meta.boxes += 1
        check_parts(meta.boxes, "boxes")
        yield kind, start + head, min(end, start + size)
        start += size


def _read_meta(data: bytes, start: int, end: int, meta: _Meta) -> None:
    for kind, at, stop in _boxes(data, start, end, meta):
        match kind:
            case b"pitm":
                meta.primary = _number(data, at + 4, 4 if data[at : at + 1] > b"\0" else 2)
            case b"iinf":
                _read_items(data, at, stop, meta)
            case b"iref":
                _read_references(data, at, stop, meta)
            case b"iprp":
                _read_properties(data, at, stop, meta)


def _read_items(data: bytes, start: int, end: int, meta: _Meta) -> None:
    start += 8 if data[start : start + 1] > b"\0" else 6
    for kind, at, _ in _boxes(data, start, end, meta):
        if kind == b"infe":
            wide = 4 if data[at : at + 1] > b"\x02" else 2
            meta.kinds[_number(data, at + 4, wide)] = data[at + 6 + wide : at + 10 + wide]
            check_parts(len(meta.kinds), "items", MAX_ITEMS)


def _read_references(data: bytes, start: int, end: int, meta: _Meta) -> None:
    wide = 4 if data[start : start + 1] > b"\0" else 2
    for kind, at, stop in _boxes(data, start + 4, end, meta):
        item, count, first = _number(data, at, wide), _number(data, at + wide, 2), at + wide + 2
        ids = [_number(data, each, wide) for each in range(first, min(stop, first + count * wide), wide)]
        if kind == b"dimg":
            meta.parts.setdefault(item, []).extend(ids)
        elif kind == b"auxl":
            for each in ids:
                meta.planes.setdefault(each, []).append(item)


def _read_properties(data: bytes, start: int, end: int, meta: _Meta) -> None:
    """Reads the sizes among the properties, and which items have them."""
    sizes: list[tuple[int, int] | None] = []
    associations: list[tuple[int, int]] = []
    for kind, at, stop in _boxes(data, start, end, meta):
        if kind == b"ipco":
            sizes += [
                (_number(data, inner + 4, 4), _number(data, inner + 8, 4)) if each == b"ispe" else None
                for each, inner, _ in _boxes(data, at, stop, meta)
            ]
        elif kind == b"ipma":
            associations += _associations(data, at, stop)
    for item, index in associations:
        size = sizes[index - 1] if 0 < index <= len(sizes) else None
        if size and item not in meta.size_of:
            meta.size_of[item] = size


def _associations(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yields pairs of an item and the index of one of its properties."""
    wide = 4 if data[start : start + 1] > b"\0" else 2
    is_long = bool(data[start + 3 : start + 4] > b"\0" and data[start + 3] & 1)
    at, step = start + 8, 2 if is_long else 1
    for _ in range(min(_number(data, start + 4, 4), end - start)):
        if at + wide >= end:
            return
        item, count = _number(data, at, wide), data[at + wide]
        at += wide + 1
        for _ in range(count):
            yield item, _number(data, at, step) & (0x7FFF if is_long else 0x7F)
            at += step


def _pixels(meta: _Meta, item: int, known: dict[int, int], depth: int) -> int:
    """Returns the pixels that are decoded for an item. Raises ImageUndecodable if it is derived from itself."""
    if depth > MAX_DEPTH:
        raise ImageUndecodable("The picture is derived from too many others in turn: save it again, as a JPEG or PNG.")
    if item not in known:
        width, height = meta.size_of.get(item, (0, 0))
        parts = meta.parts.get(item, []) if meta.kinds.get(item) in _DERIVED else []
        made_of = sum(_pixels(meta, part, known, depth + 1) for part in parts)
        planes = sum(_pixels(meta, plane, known, depth + 1) for plane in meta.planes.get(item, []))
        known[item] = max(width * height, made_of) + planes
    return known[item]


def _largest_track(data: bytes, start: int, end: int, meta: _Meta) -> tuple[int, int]:
    sizes = [(0, 0)]
    for kind, at, stop in _boxes(data, start, end, meta):
        if kind == b"trak":
            for inner, inner_at, _ in _boxes(data, at, stop, meta):
                if inner == b"tkhd":  # width and height come last, as 16.16 fixed point
                    first = inner_at + (88 if data[inner_at : inner_at + 1] > b"\0" else 76)
                    sizes.append((_number(data, first, 4) >> 16, _number(data, first + 4, 4) >> 16))
    return max(sizes, key=lambda size: size[0] * size[1])


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "big")

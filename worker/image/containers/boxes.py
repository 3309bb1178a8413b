"""Reads properties of the primary image of an AVIF or HEIC file (ISO 14496-12, ISO 23008-12).

The libraries that decode these files apply most properties themselves. Read here is what they leave out: the code
points of the colour (`colr`), and the crop of an AVIF (`clap`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from worker.image.color.cicp import CodePoints

_MAX_BOXES = 20_000
Box = tuple[int, int]
"""Start and end of a box's content."""


@dataclass(frozen=True)
class Properties:
    """What the primary image's properties say.

    code_points: of the colour, or None.
    crop: left, upper, right, lower in pixels before rotation, or None.
    codec: the item's type, such as `av01`, `hvc1` or `grid`; empty if unknown.
    """

    code_points: CodePoints | None = None
    crop: tuple[int, int, int, int] | None = None
    codec: str = ""


def read_properties(data: bytes) -> Properties:
    """Returns the properties of the primary image. A file with broken boxes has none; the decoder reports it."""
    try:
        return _read(data)
    except (struct.error, IndexError, ValueError, ZeroDivisionError):
        return Properties()


def _read(data: bytes) -> Properties:
    meta = _find(data, (0, len(data)), b"meta")
    if meta is None:
        return Properties()
    inside = (meta[0] + 4, meta[1])
    item = _primary_item(data, inside)
    found = list(_properties_of(data, inside, item))
    code_points = next((p for name, box in found if name == b"colr" and (p := _code_points(data, box))), None)
    size = next((struct.unpack_from(">II", data, box[0] + 4) for name, box in found if name == b"ispe"), None)
    aperture = next((box for name, box in found if name == b"clap"), None)
    crop = _crop(struct.unpack_from(">8i", data, aperture[0]), size) if aperture and size else None
    return Properties(code_points, crop, _codec(data, inside, item))


def _boxes(data: bytes, within: Box) -> Iterator[tuple[bytes, Box]]:
    at, end = within
    for _ in range(_MAX_BOXES):
        if at + 8 > end:
            return
        size, name = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        stop = end if size == 0 else at + size
        if (size and size < head) or stop > end:
            return
        yield name, (at + head, stop)
        at = stop


def _find(data: bytes, within: Box, wanted: bytes) -> Box | None:
    return next((box for name, box in _boxes(data, within) if name == wanted), None)


def _primary_item(data: bytes, meta: Box) -> int:
    box = _find(data, meta, b"pitm")
    if box is None:
        raise ValueError("no primary item")
    version = data[box[0]]
    return int(struct.unpack_from(">I" if version else ">H", data, box[0] + 4)[0])


def _codec(data: bytes, meta: Box, item: int) -> str:
    box = _find(data, meta, b"iinf")
    if box is None:
        return ""
    entries = (box[0] + (8 if data[box[0]] else 6), box[1])
    for name, entry in _boxes(data, entries):
        if name != b"infe" or data[entry[0]] < 2:
            continue
        wide = data[entry[0]] > 2
        number = struct.unpack_from(">I" if wide else ">H", data, entry[0] + 4)[0]
        if number == item:
            at = entry[0] + (10 if wide else 8)
            return data[at : at + 4].decode("latin-1")
    return ""


def _properties_of(data: bytes, meta: Box, item: int) -> Iterator[tuple[bytes, Box]]:
    iprp = _find(data, meta, b"iprp")
    ipco = iprp and _find(data, iprp, b"ipco")
    if not iprp or not ipco:
        return
    known = list(_boxes(data, ipco))
    for name, box in _boxes(data, iprp):
        if name == b"ipma":
            for index in _associations(data, box, item):
                if 0 < index <= len(known):
                    yield known[index - 1]


def _associations(data: bytes, box: Box, item: int) -> Iterator[int]:
    version, flags = data[box[0]], data[box[0] + 3]
    at = box[0] + 8
    for _ in range(min(struct.unpack_from(">I", data, box[0] + 4)[0], _MAX_BOXES)):
        number = struct.unpack_from(">I" if version else ">H", data, at)[0]
        at += 4 if version else 2
        count, at = data[at], at + 1
        for _ in range(count):
            if flags & 1:
                index, at = struct.unpack_from(">H", data, at)[0] & 0x7FFF, at + 2
            else:
                index, at = data[at] & 0x7F, at + 1
            if number == item:
                yield index


def _code_points(data: bytes, box: Box) -> CodePoints | None:
    if data[box[0] : box[0] + 4] != b"nclx":
        return None
    primaries, transfer = struct.unpack_from(">HH", data, box[0] + 4)
    return CodePoints(primaries, transfer)


def _crop(values: tuple[int, ...], size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Returns the clean aperture in whole pixels, or None if it does not lie within the picture."""
    width, height = values[0] / values[1], values[2] / values[3]
    left = (size[0] - width) / 2 + values[4] / values[5]
    upper = (size[1] - height) / 2 + values[6] / values[7]
    box = round(left), round(upper), round(left + width), round(upper + height)
    is_inside = 0 <= box[0] < box[2] <= size[0] and 0 <= box[1] < box[3] <= size[1]
    return box if is_inside and box != (0, 0, *size) else None

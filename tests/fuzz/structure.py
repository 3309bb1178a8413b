"""Damage that keeps a file's structure: chunks, segments, scans, boxes and entries are moved, repeated, and put in.

Random bytes hardly ever get past a checksum or a length; these changes do.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable

Part = bytes

COUNTS = (1, 1, 2, 30, 300)


def restructure(data: bytearray, dice: random.Random) -> bytearray:
    """Changes one or two parts of a file. A file without parts that are known here comes back as it was."""
    whole = bytes(data)
    for magic, at, change in _FORMATS:
        if whole[at : at + len(magic)] == magic:
            return bytearray(change(whole, dice))
    return data


def _changed(parts: list[Part], dice: random.Random, new: Callable[[], Part]) -> list[Part]:
    """Parts after one or two changes. `new` makes a part of the format."""
    parts = list(parts)
    for _ in range(dice.choice((1, 1, 2))):
        at = dice.randrange(len(parts) + 1)
        chosen = dice.randrange(len(parts)) if parts else 0
        match dice.choice(("insert", "insert", "repeat", "drop", "move", "swap", "shuffle")):
            case "insert":
                parts[at:at] = [new()] * dice.choice(COUNTS)
            case "repeat" if parts:
                parts[at:at] = [parts[chosen]] * dice.choice(COUNTS)
            case "drop" if parts:
                del parts[chosen]
            case "move" if parts:
                parts.insert(dice.randrange(len(parts)), parts.pop(chosen))
            case "swap" if parts:
                other = dice.randrange(len(parts))
                parts[chosen], parts[other] = parts[other], parts[chosen]
            case "shuffle":
                dice.shuffle(parts)
    return parts


def _body(dice: random.Random) -> bytes:
    """What metadata may hold: nothing, noise, text, compressed zeros, EXIF data, the start of a profile."""
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHLL", 1, 0x0112, 3, dice.choice((1, 2**32 - 1)), 6) + bytes(4)
    return dice.choice(
        (
            b"",
            dice.randbytes(dice.choice((1, 13, 700))),
            b"Title\0\0" + zlib.compress(bytes(dice.choice((10, 3_000_000)))),
            exif,
            exif[6:],
            b"ICC_PROFILE\0" + bytes([dice.randrange(4), dice.randrange(4)]) + bytes(36) + b"acsp" + bytes(88),
            b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation='6'/>" * dice.choice((1, 40)),
            b"Adobe\0\x64\0\0\0\0" + bytes([dice.randrange(4)]),
            b"MPF\0II*\0\x08\0\0\0" + struct.pack("<HHHLL", 1, 0xB001, 4, 1, dice.choice((1, 2, 2**31))),
        )
    )


_PNG_KINDS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"tRNS", b"PLTE", b"cICP", b"gAMA", b"cHRM", b"sRGB")
_PNG_KINDS += (b"acTL", b"fcTL", b"fdAT", b"IDAT", b"IHDR", b"IEND", b"prVt", b"sBIT", b"bKGD", b"mDCV")


def _png(data: bytes, dice: random.Random) -> bytes:
    chunks, at = [], 8
    while at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        chunks.append(data[at:end])
        at = end

    def new() -> bytes:
        kind, body = dice.choice(_PNG_KINDS), _body(dice)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return data[:8] + b"".join(_changed(chunks, dice, new))


def _jpeg(data: bytes, dice: random.Random) -> bytes:
    """A scan is one part with the data that follows it."""
    segments, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xDA:
            while 0 <= end < len(data) - 1 and (data[end] != 0xFF or data[end + 1] in {0, *range(0xD0, 0xD8)}):
                end += 1
        segments.append(data[at:end])
        at = end

    def new() -> bytes:
        body = _body(dice)[:60_000]
        marker = dice.choice((0xE0, 0xE1, 0xE1, 0xE2, 0xE2, 0xED, 0xEE, 0xFE, 0xC0, 0xC4, 0xDB, 0xDD, 0xDC, 0xC9))
        return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body

    return data[:2] + b"".join(_changed(segments, dice, new)) + data[at:]


def _webp(data: bytes, dice: random.Random) -> bytes:
    chunks, at = [], 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        chunks.append(data[at : at + 8 + length + (length & 1)])
        at += 8 + length + (length & 1)

    def new() -> bytes:
        body = _body(dice)
        kind = dice.choice((b"EXIF", b"XMP ", b"ICCP", b"ALPH", b"ANIM", b"ANMF", b"VP8X", b"junk"))
        return kind + struct.pack("<I", len(body)) + body + bytes(len(body) & 1)

    body = b"".join(_changed(chunks, dice, new))
    return data[:4] + struct.pack("<I", len(body) + 4) + b"WEBP" + body


_NESTED = {b"meta": 4, b"iinf": 6, b"iref": 4, b"iprp": 0, b"ipco": 0}
_BOX_KINDS = (b"ispe", b"irot", b"imir", b"clap", b"colr", b"pixi", b"auxC", b"pasp", b"infe", b"dimg", b"auxl")
_BOX_KINDS += (b"free", b"iloc", b"pitm", b"ipma", b"hvcC", b"av1C", b"idat")


def _boxed(data: bytes, dice: random.Random) -> bytes:
    return data[: (end := _size(data, 0))] + _within(data[end:], dice)


def _within(data: bytes, dice: random.Random) -> bytes:
    """Changes the boxes at this level, or those within one of them."""
    boxes, at = [], 0
    while at + 8 <= len(data) and (size := _size(data, at)) >= 8:
        boxes.append(data[at : at + size])
        at += size
    nested = [number for number, each in enumerate(boxes) if each[4:8] in _NESTED]
    if nested and dice.random() < 0.7:
        chosen = dice.choice(nested)
        head = 8 + _NESTED[boxes[chosen][4:8]]
        body = boxes[chosen][8:head] + _within(boxes[chosen][head:], dice)
        boxes[chosen] = struct.pack(">I", 8 + len(body)) + boxes[chosen][4:8] + body
        return b"".join(boxes) + data[at:]

    def new() -> bytes:
        body = bytes(4) + struct.pack(">II", dice.choice((1, 120, 70_000)), dice.choice((1, 80, 2**31)))
        body = dice.choice((body, _body(dice), struct.pack(">HHHH", 1, 2, 1, 1)))
        return struct.pack(">I", 8 + len(body)) + dice.choice(_BOX_KINDS) + body

    return b"".join(_changed(boxes, dice, new)) + data[at:]


def _size(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big") or len(data) - at


def _tiff(data: bytes, dice: random.Random) -> bytes:
    """Moves, repeats and invents entries of the first directory, which goes to the end of the file."""
    order = "<" if data.startswith(b"II") else ">"
    at = struct.unpack_from(order + "L", data, 4)[0]
    if at + 2 > len(data):
        return data
    count = struct.unpack_from(order + "H", data, at)[0]
    entries = [data[at + 2 + 12 * number : at + 14 + 12 * number] for number in range(min(count, 200))]

    def new() -> bytes:
        tag = dice.choice(
            (256, 257, 258, 259, 262, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339)
        )
        value = dice.choice((0, 1, 7, 80, 120, 65_535, len(data) - 1, 2**32 - 1))
        return struct.pack(order + "HHLL", tag, dice.randrange(18), dice.choice((0, 1, 3, 70_000, 2**31)), value)

    changed = [each for each in _changed(entries, dice, new) if len(each) == 12][:2000]
    directory = struct.pack(order + "H", len(changed)) + b"".join(changed) + bytes(4)
    return data[:4] + struct.pack(order + "L", len(data)) + data[8:] + directory


_FORMATS: tuple[tuple[bytes, int, Callable[[bytes, random.Random], bytes]], ...] = (
    (b"\x89PNG\r\n\x1a\n", 0, _png),
    (b"\xff\xd8\xff", 0, _jpeg),
    (b"WEBP", 8, _webp),
    (b"ftyp", 4, _boxed),
    (b"II*\0", 0, _tiff),
    (b"MM\0*", 0, _tiff),
)

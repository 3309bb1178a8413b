"""GIF: the screen, and the extensions before the first picture (GIF89a, sections 18 to 26)."""

from __future__ import annotations

from worker.image.headers.claim import Claimed, check_parts

MAX_BLOCKS = 100_000
"""Blocks of at most 255 bytes before the first picture: comments, profiles, XMP."""


def read(data: bytes) -> Claimed:
    width, height = _pair(data, 6)
    at, blocks = 13 + _palette(data, 10), 0
    while at < len(data):
        kind = data[at]
        if kind == 0x2C:  # The picture may lie outside of the screen; Pillow then enlarges the screen.
            left, top = _pair(data, at + 1)
            own_width, own_height = _pair(data, at + 5)
            return Claimed(max(width, left + own_width), max(height, top + own_height))
        if kind == 0x3B:
            break
        at += 1
        if kind != 0x21:
            continue
        at += 1
        while at < len(data) and (length := data[at]):
            at += 1 + length
            blocks += 1
            check_parts(blocks, "blocks before its picture", MAX_BLOCKS)
        at += 1
    return Claimed(width, height)


def _pair(data: bytes, at: int) -> tuple[int, int]:
    return int.from_bytes(data[at : at + 2], "little"), int.from_bytes(data[at + 2 : at + 4], "little")


def _palette(data: bytes, at: int) -> int:
    flags = data[at] if len(data) > at else 0
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0

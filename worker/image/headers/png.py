"""PNG: chunks (W3C PNG, section 5)."""

from __future__ import annotations

import zlib

from worker.image.headers.claim import UNKNOWN, Claimed, check_parts

MAX_PROFILES = 8
"""Each compressed profile may take a megabyte and milliseconds. A file may have one."""


def read(data: bytes) -> Claimed:
    claimed, chunks, profiles, at, is_header = UNKNOWN, 0, 0, 8, True
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"IEND":
            break
        if kind == b"IDAT":
            is_header = False  # Pillow ignores a later size
        elif kind == b"IHDR" and is_header and 8 <= length < 1000 and _is_whole(data, at, length):
            width, height = data[at + 8 : at + 12], data[at + 12 : at + 16]
            claimed = Claimed(int.from_bytes(width, "big"), int.from_bytes(height, "big"))
        profiles += kind == b"iCCP"
        chunks += 1
        check_parts(chunks, "chunks")
        check_parts(profiles, "colour profiles", MAX_PROFILES)
        at += 12 + length
    return claimed


def _is_whole(data: bytes, at: int, length: int) -> bool:
    """Whether the chunk's checksum is right. A damaged size would be refused as too large instead of as damaged."""
    end = at + 8 + length
    return zlib.crc32(data[at + 4 : end]) == int.from_bytes(data[end : end + 4], "big")

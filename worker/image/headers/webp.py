"""WebP: RIFF chunks (RFC 9649)."""

from __future__ import annotations

from worker.image.headers.claim import UNKNOWN, Claimed, check_parts


def read(data: bytes) -> Claimed:
    chunks, at = 0, 12
    while at + 8 <= len(data):
        chunks += 1
        check_parts(chunks, "chunks")
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + (length & 1)
    return _size(data)


def _size(data: bytes) -> Claimed:
    """The first chunk has the size of the canvas, for which the decoder allocates memory when it opens the file."""

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], "little")

    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        return Claimed(number(24, 3) + 1, number(27, 3) + 1)
    if kind == b"VP8 " and len(data) >= 30:
        return Claimed(number(26, 2) & 0x3FFF, number(28, 2) & 0x3FFF)
    if kind == b"VP8L" and len(data) >= 25:
        bits = number(21, 4)
        return Claimed((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    return UNKNOWN

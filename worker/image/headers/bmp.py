"""BMP: the information header."""

from __future__ import annotations

from worker.image.headers.claim import Claimed

_CORE_HEADER = 12
_RLE = frozenset({1, 2})


def read(data: bytes) -> Claimed:
    def number(at: int, size: int, *, is_signed: bool = False) -> int:
        return int.from_bytes(data[at : at + size], "little", signed=is_signed)

    if number(14, 4) == _CORE_HEADER:
        return Claimed(number(18, 2), number(20, 2))
    width, height = number(18, 4), abs(number(22, 4, is_signed=True))
    return Claimed(width, height, is_slow=number(30, 4) in _RLE)

"""Pictures damaged at random, each the same for the same seed and number."""

from __future__ import annotations

import functools
import random

from tests.fuzz.structure import restructure
from tests.pictures import GOOD


@functools.cache
def originals() -> tuple[bytes, ...]:
    """Good files of every format, drawn once."""
    return tuple(make() for make in GOOD.values())


def mutated(seed: int, number: int) -> bytes:
    """The file of this number: one of the good ones, changed in one to four ways."""
    dice = random.Random(f"{seed}/{number}")
    data = bytearray(originals()[number % len(originals())])
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        data = dice.choice(WAYS)(data, dice)
    return bytes(data)


def _flip(data: bytearray, dice: random.Random) -> bytearray:
    for _ in range(dice.choice((1, 3, 30))):
        if data:
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return data


def _flip_header(data: bytearray, dice: random.Random) -> bytearray:
    """Sizes, counts, offsets and flags stand at the front."""
    for _ in range(dice.choice((1, 2, 5))):
        if data:
            data[dice.randrange(min(len(data), 80))] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
    return data


def _truncate(data: bytearray, dice: random.Random) -> bytearray:
    return data[: dice.randrange(len(data) + 1)]


def _cut(data: bytearray, dice: random.Random) -> bytearray:
    start, end = _span(data, dice)
    return data[:start] + data[end:]


def _repeat(data: bytearray, dice: random.Random) -> bytearray:
    start, end = _span(data, dice)
    return data[:end] + data[start:end] * dice.choice((1, 2, 20)) + data[end:]


def _insert(data: bytearray, dice: random.Random) -> bytearray:
    at = dice.randrange(len(data) + 1)
    return data[:at] + dice.randbytes(dice.choice((1, 16, 500))) + data[at:]


def _overwrite(data: bytearray, dice: random.Random) -> bytearray:
    start, end = _span(data, dice)
    filler = dice.choice((b"\x00", b"\xff", b""))
    return data[:start] + (filler * (end - start) if filler else dice.randbytes(end - start)) + data[end:]


def _graft(data: bytearray, dice: random.Random) -> bytearray:
    """The head of this file on the body of another, often of another format."""
    other = dice.choice(originals())
    return data[: dice.randrange(len(data) + 1)] + other[dice.randrange(len(other)) :]


def _span(data: bytearray, dice: random.Random) -> tuple[int, int]:
    start = dice.randrange(len(data) + 1)
    return start, min(len(data), start + dice.choice((1, 4, 64, 1000)))


WAYS = (
    *(_flip, _flip_header, _flip_header, _truncate, _cut, _repeat, _insert, _overwrite, _graft),
    *(restructure, restructure, restructure, restructure, restructure),
)

"""Decoding is limited by count and megapixels, first come, first served."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from core.jobs.lifecycle import Claim
from core.states import Lane
from tests.processes import wait_until
from worker.image.decode_limiter import DecodeLimiter


def a_claim() -> Claim:
    return Claim(uuid.uuid4(), 1, "owner", "https://shop.example/1.jpg", False, Lane.BULK, 0, 0, 0.0)


class Decode:
    """A decode of so many megapixels in a thread of its own."""

    def __init__(self, limiter: DecodeLimiter, megapixels: float, claim: Claim | None = None) -> None:
        self.started, self.ends = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(limiter, megapixels, claim or a_claim()), daemon=True)
        self._thread.start()

    def _run(self, limiter: DecodeLimiter, megapixels: float, claim: Claim) -> None:
        with limiter.acquire(claim, megapixels):
            self.started.set()
            self.ends.wait(10)

    def end(self) -> None:
        self.ends.set()
        self._thread.join(5)
        assert not self._thread.is_alive()


@contextmanager
def decodes(limiter: DecodeLimiter, *megapixels: float) -> Iterator[list[Decode]]:
    """Decodes that have come in this order."""
    running: list[Decode] = []
    try:
        for number, each in enumerate(megapixels):
            running.append(Decode(limiter, each))
            wait_until(lambda: len(limiter._waiting) + len(limiter._running) > number, 5, "the decode")  # noqa: B023
        yield running
    finally:
        for each in running:
            each.ends.set()
        for each in running:
            each.end()


def started(running: list[Decode]) -> list[bool]:
    time.sleep(0.1)
    return [each.started.is_set() for each in running]


@pytest.mark.parametrize(
    ("count", "budget", "megapixels", "expected"),
    [
        (2, 100, (1, 1, 1), [True, True, False]),
        (4, 100, (60, 40, 1), [True, True, False]),
        (4, 100, (60, 41), [True, False]),
        (4, 100, (60, 80, 1), [True, False, False]),
        (4, 100, (500, 1), [True, False]),
        (4, 100, (1, 500), [True, False]),
        (4, 100, (100,), [True]),
    ],
)
def test_pictures_start_in_order_while_there_is_room(count, budget, megapixels, expected):
    with decodes(DecodeLimiter(count, 60, budget), *megapixels) as running:
        assert started(running) == expected


def test_a_large_picture_is_not_overtaken_for_ever():
    with decodes(DecodeLimiter(4, 60, 100), 50, 50, 90, 10, 10) as running:
        assert started(running) == [True, True, False, False, False]
        running[0].end()
        assert started(running) == [True, True, False, False, False]
        running[1].end()
        assert started(running) == [True, True, True, True, False]
        running[2].end()
        assert all(started(running))


def test_a_failed_decode_gives_its_room_back():
    limiter = DecodeLimiter(1, 60)
    with pytest.raises(ZeroDivisionError), limiter.acquire(a_claim(), 5):
        raise ZeroDivisionError
    with decodes(limiter, 5) as running:
        assert started(running) == [True]


def test_only_a_decode_that_runs_can_hang():
    limiter, claim = DecodeLimiter(1, 0.3), a_claim()
    running = Decode(limiter, 1, claim)
    assert running.started.wait(5)
    waiting = Decode(limiter, 1)
    assert limiter.find_hang() is None
    wait_until(lambda: limiter.find_hang() is not None, 5, "the hang")
    hang = limiter.find_hang()
    assert hang is not None
    assert hang.fields["job_id"] == str(claim.id)
    running.end()
    assert waiting.started.wait(5)
    assert limiter.find_hang() is None
    waiting.end()

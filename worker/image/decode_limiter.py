"""Limits how much is decoded at a time, and detects a decode that hangs."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from collections.abc import Iterator

from core.jobs.lifecycle import Claim
from worker.process.watchdog import Hang


class DecodeLimiter:
    """A first-in, first-out semaphore around decoding, weighted by megapixels. Thread-safe.

    A picture waits until all that came before it have started, so that small ones cannot keep a large one waiting. One
    that is larger than the whole budget is decoded alone.

    count: number of pictures at a time; more than cores would only cost memory.
    max_megapixels: of all pictures together.
    deadline_s: a decode that takes longer is reported by `find_hang`.
    """

    def __init__(self, count: int, deadline_s: float, max_megapixels: float = float("inf")) -> None:
        self._count = count
        self._deadline_s = deadline_s
        self._max_megapixels = max_megapixels
        self._changed = threading.Condition()
        self._waiting: collections.deque[object] = collections.deque()
        self._running: dict[object, float] = {}  # megapixels by ticket
        self._since: dict[Claim, float] = {}

    @contextlib.contextmanager
    def acquire(self, claim: Claim, megapixels: float = 0.0) -> Iterator[None]:
        """Waits for its turn and holds it while the block runs. The deadline starts with the block."""
        ticket = object()
        self._enter(ticket, claim, megapixels)
        try:
            yield
        finally:
            with self._changed:
                del self._since[claim]
                del self._running[ticket]
                self._changed.notify_all()

    def find_hang(self) -> Hang | None:
        """Returns a decode that has exceeded its deadline, if any; only exiting the process ends it."""
        started_before = time.monotonic() - self._deadline_s
        with self._changed:
            late = [claim for claim, since in self._since.items() if since < started_before]
        if not late:
            return None
        return Hang("decode_hung", {"job_id": str(late[0].id), "request_id": late[0].request_id})

    def _enter(self, ticket: object, claim: Claim, megapixels: float) -> None:
        with self._changed:
            self._waiting.append(ticket)
            self._changed.wait_for(lambda: self._waiting[0] is ticket and self._has_room(megapixels))
            self._waiting.popleft()
            self._running[ticket] = megapixels
            self._since[claim] = time.monotonic()
            self._changed.notify_all()  # the next one may fit beside it

    def _has_room(self, megapixels: float) -> bool:
        if not self._running:
            return True
        return len(self._running) < self._count and sum(self._running.values()) + megapixels <= self._max_megapixels

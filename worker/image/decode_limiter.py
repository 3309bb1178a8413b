"""Limits how many images are decoded at a time, and detects a decode that hangs."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from core.jobs.lifecycle import Claim
from worker.process.watchdog import Hang


class DecodeLimiter:
    """A semaphore around decoding: more decodes than cores would only cost memory. Thread-safe.

    deadline_s: a decode that takes longer is reported by `find_hang`; its thread cannot be stopped.
    """

    def __init__(self, count: int, deadline_s: float) -> None:
        self._free = threading.BoundedSemaphore(count)
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._since: dict[Claim, float] = {}

    @contextlib.contextmanager
    def acquire(self, claim: Claim) -> Iterator[None]:
        """Waits for a free slot and holds it while the block runs. The deadline starts with the block."""
        with self._free:
            with self._lock:
                self._since[claim] = time.monotonic()
            try:
                yield
            finally:
                with self._lock:
                    del self._since[claim]

    def find_hang(self) -> Hang | None:
        """Returns a decode that has exceeded its deadline, if any; only exiting the process ends it."""
        started_before = time.monotonic() - self._deadline_s
        with self._lock:
            late = [claim for claim, since in self._since.items() if since < started_before]
        if not late:
            return None
        return Hang("decode_hung", {"job_id": str(late[0].id), "request_id": late[0].request_id})

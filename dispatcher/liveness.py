"""Liveness of the dispatcher's loops, reported to health probes by a heartbeat file.

A loop is healthy while it waits and while its current round stays within its time limit. An unavailable server does not
make a loop unhealthy, because a restart would not help.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from core.telemetry.heartbeat import Heartbeat

BEAT_EVERY_S = 2.0
MAX_ROUND_S = 60.0


class Liveness:
    """Tracks the rounds of all loops. Thread-safe.

    max_round_s: time limits by loop name, where they differ from `MAX_ROUND_S`.
    """

    def __init__(
        self,
        heartbeat: Heartbeat,
        max_round_s: dict[str, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._heartbeat = heartbeat
        self._max_round_s = max_round_s or {}
        self._clock = clock
        self._started_at: dict[str, float] = {}

    @contextlib.contextmanager
    def round(self, name: str) -> Iterator[None]:
        """Marks a round of the named loop while the block runs."""
        self._started_at[name] = self._clock()
        try:
            yield
        finally:
            self._started_at.pop(name, None)

    def is_healthy(self) -> bool:
        """Whether every current round is within its time limit."""
        now = self._clock()
        started_at = self._started_at.copy()
        return all(now - at < self._max_round_s.get(name, MAX_ROUND_S) for name, at in started_at.items())

    def run(self, stopping: threading.Event) -> None:
        """Touches the heartbeat file while all loops are healthy, until `stopping` is set; then removes it."""
        try:
            while not stopping.is_set():
                if self.is_healthy():
                    self._heartbeat.beat()
                stopping.wait(BEAT_EVERY_S)
        finally:
            self._heartbeat.remove()

"""Whether the dispatcher's loops still turn, told to probes by a file.

A loop is well while it waits, and while its round does not take longer than any round may. Servers that are away make
no loop unwell: a dispatcher that is started anew would not find them either.
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
    """Thread-safe. `longest_s` has the loops whose rounds may take longer than the others'."""

    def __init__(
        self,
        heartbeat: Heartbeat,
        longest_s: dict[str, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._heartbeat = heartbeat
        self._longest_s = longest_s or {}
        self._clock = clock
        self._began: dict[str, float] = {}

    @contextlib.contextmanager
    def round(self, name: str) -> Iterator[None]:
        """The loop of that name is busy while the block runs."""
        self._began[name] = self._clock()
        try:
            yield
        finally:
            self._began.pop(name, None)

    def is_healthy(self) -> bool:
        """Whether no round takes too long."""
        now = self._clock()
        return all(now - at < self._longest_s.get(name, MAX_ROUND_S) for name, at in self._began.copy().items())

    def run(self, stopping: threading.Event) -> None:
        """Touches the file while all is well and `stopping` is not set; then takes it away."""
        try:
            while not stopping.is_set():
                if self.is_healthy():
                    self._heartbeat.beat()
                stopping.wait(BEAT_EVERY_S)
        finally:
            self._heartbeat.remove()

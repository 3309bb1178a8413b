"""The user's wish to stop, as state: the first signal asks, the second insists."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """While the block runs, SIGINT, SIGTERM and SIGHUP are counted and interrupt nothing. Main thread only."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._before: dict[signal.Signals, Any] = {}
        self.is_urgent = False

    @property
    def is_set(self) -> bool:
        return self._asked.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Waits for the first signal; True when it has come."""
        return self._asked.wait(timeout_s)

    def set(self) -> None:
        """As the first signal does."""
        self._asked.set()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._asked.is_set():
            self.is_urgent = True
        self._asked.set()

    def __enter__(self) -> Self:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

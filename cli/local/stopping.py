"""Stop signals as state: the first signal requests a graceful stop, the second an immediate one."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """Records SIGINT, SIGTERM and SIGHUP within a `with` block, without interrupting it. Main thread only."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._before: dict[signal.Signals, Any] = {}
        self.is_urgent = False

    @property
    def is_set(self) -> bool:
        return self._requested.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Waits for the first signal. Returns whether it was received."""
        return self._requested.wait(timeout_s)

    def set(self) -> None:
        """Requests a stop, like the first signal."""
        self._requested.set()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._requested.is_set():
            self.is_urgent = True
        self._requested.set()

    def __enter__(self) -> Self:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

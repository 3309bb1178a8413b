"""The heartbeat that probes look at, and the watchdog that ends a process in which something hangs for good."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from core.telemetry.heartbeat import Heartbeat
from core.telemetry.logs import get_logger

log = get_logger(__name__)

EXIT_HUNG = 70  # EX_SOFTWARE of sysexits.h


@dataclasses.dataclass(frozen=True)
class Hang:
    """Something that will not end, as the event and the fields of its line in the log."""

    event: str
    fields: Mapping[str, object] = dataclasses.field(default_factory=dict)


class Watch:
    """Every `every_s` asks each of `checks`: touches the file if all is well, ends the process at the first hang."""

    def __init__(
        self, checks: Sequence[Callable[[], Hang | None]], heartbeat_file: Path | None, every_s: float = 2.0
    ) -> None:
        self._checks = checks
        self._heartbeat = Heartbeat(heartbeat_file)
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._heartbeat.beat()
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._heartbeat.remove()

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            for hang in filter(None, (check() for check in self._checks)):
                log.error(hang.event, **hang.fields)
                # A thread cannot be killed. The leases end with the process, and its jobs go to another.
                os._exit(EXIT_HUNG)
            self._heartbeat.beat()

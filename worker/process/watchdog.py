"""The watchdog: touches the heartbeat file while all is well, and exits the process when something hangs."""

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
    """A hang that a check has found, as the log event and fields that report it."""

    event: str
    fields: Mapping[str, object] = dataclasses.field(default_factory=dict)


class Watchdog:
    """Runs every check each `every_s` seconds: touches the file if all pass, exits the process at the first hang.

    heartbeat_file: None disables the heartbeat.
    """

    def __init__(
        self, checks: Sequence[Callable[[], Hang | None]], heartbeat_file: Path | None, every_s: float = 2.0
    ) -> None:
        self._checks = checks
        self._heartbeat = Heartbeat(heartbeat_file)
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

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
                # A thread cannot be killed. The leases expire with the process, and other workers take its jobs.
                os._exit(EXIT_HUNG)
            self._heartbeat.beat()

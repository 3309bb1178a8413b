"""The heartbeat that probes look at, and the watchdog that ends a process whose model thread hangs or has died."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from jobs.heartbeat import Heartbeat
from jobs.logs import get_logger

log = get_logger(__name__)

EXIT_HUNG = 70  # EX_SOFTWARE of sysexits.h


class Watch:
    """Every `every_s` asks whether the worker is well: touches the file if so, ends the process if the model hangs."""

    def __init__(self, is_hung: Callable[[], bool], heartbeat_file: Path | None, every_s: float = 2.0) -> None:
        self._is_hung = is_hung
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
            if self._is_hung():
                log.error("model_hangs")
                # A thread cannot be killed. The leases end with the process, and its jobs go to another.
                os._exit(EXIT_HUNG)
            self._heartbeat.beat()

"""Shutdown from SIGTERM to exit within a grace period: finish running jobs, release the rest, never hang."""

from __future__ import annotations

import logging
import os
import threading
import time

from core.telemetry.logs import get_logger

log = get_logger(__name__)


class ShutdownSignal:
    """Two flags that a shutdown raises one after the other. Thread-safe."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._releasing = threading.Event()

    @property
    def is_stopping(self) -> bool:
        """Whether no further job may start."""
        return self._stopping.is_set()

    @property
    def is_releasing(self) -> bool:
        """Whether running jobs must be released, too."""
        return self._releasing.is_set()

    def stop(self) -> None:
        """Lets running jobs finish; jobs that have not started are released."""
        self._stopping.set()

    def release(self) -> None:
        """Releases running jobs as well."""
        self._stopping.set()
        self._releasing.set()


class Shutdown:
    """Runs the shutdown of a worker on a schedule.

    At once, no further job starts. After half the grace period, jobs that still run (such as a fetch from a silent
    server) are released, so that the process can exit normally. At the end of the grace period the process exits.
    """

    def __init__(self, signal: ShutdownSignal, grace_s: float) -> None:
        self._signal = signal
        self._grace_s = grace_s
        self._thread = threading.Thread(target=self._run, name="shutdown", daemon=True)
        self._has_begun = False

    def begin(self) -> None:
        """Starts the schedule; further calls do nothing. Safe to call from a signal handler."""
        if self._has_begun:
            return
        self._has_begun = True
        self._signal.stop()
        self._thread.start()

    def _run(self) -> None:
        log.info("shutdown_started", grace_s=self._grace_s)
        time.sleep(self._grace_s / 2)
        self._signal.release()
        time.sleep(self._grace_s / 2)
        log.error("shutdown_overran")
        exit_now(0)


def exit_now(status: int) -> None:
    """Exits although threads are still running: the jobs they work on no longer belong to this process."""
    logging.shutdown()
    os._exit(status)

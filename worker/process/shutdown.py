"""From SIGTERM to the exit, within a grace: finish what can be finished, give the rest back, never hang."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

from core.telemetry.logs import get_logger

log = get_logger(__name__)


class Drain:
    """The end of a worker as a timetable.

    At once: nothing new begins (`stop`). At half the grace: what still runs, such as a fetch from a silent server, is
    given back (`let_go`), after which the process can end in order. At the end of the grace: it ends as it is.
    """

    def __init__(self, stop: Callable[[], None], let_go: Callable[[], None], grace_s: float) -> None:
        self._stop = stop
        self._let_go = let_go
        self._grace_s = grace_s
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)
        self._has_begun = False

    def begin(self) -> None:
        """Starts the timetable; again does nothing. May be called from a signal handler."""
        if self._has_begun:
            return
        self._has_begun = True
        self._stop()
        self._thread.start()

    def _run(self) -> None:
        log.info("drain_began", grace_s=self._grace_s)
        time.sleep(self._grace_s / 2)
        self._let_go()
        time.sleep(self._grace_s / 2)
        log.error("drain_overran")
        leave(0)


def leave(status: int) -> None:
    """Ends the process although threads are still busy: they work on jobs that are no longer ours."""
    logging.shutdown()
    os._exit(status)

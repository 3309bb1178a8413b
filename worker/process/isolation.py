"""Runs jobs alone in a child process and reports how each run ended."""

from __future__ import annotations

import contextlib
import enum
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from typing import cast

from core.jobs.lifecycle import Claim
from core.settings import Settings
from core.telemetry.logs import get_logger
from worker.job_metrics import JobOutcome
from worker.process import isolated_child
from worker.process.isolated_child import OpenBase

log = get_logger(__name__)

POLL_S = 0.1
CLOSE_S = 2.0


class RunEnd(enum.Enum):
    """How an isolated run ended."""

    DONE = "done"  # the child wrote the job's end
    DIED = "died"  # the child died during the job, or was killed at the deadline
    NOT_STARTED = "not_started"  # no child could be started
    STOPPED = "stopped"  # the worker is shutting down; the child was killed


class _Stopped(Exception):
    pass


class _DeadlinePassed(Exception):
    pass


class _Child:
    """One child process and the connection to it."""

    def __init__(self, settings: Settings, open_base: OpenBase) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=isolated_child.serve, args=(settings, theirs, open_base), name="isolated", daemon=True
        )
        self.process.start()
        theirs.close()  # otherwise the end of the child would not close the connection

    def receive(self, is_stopping: Callable[[], bool], deadline: float) -> JobOutcome | None:
        """Waits for the child's next message: STARTED, or the job's outcome.

        Raises EOFError if the child died, _Stopped, _DeadlinePassed.
        """
        while not self.connection.poll(POLL_S):
            if is_stopping():
                raise _Stopped
            if time.monotonic() > deadline:
                raise _DeadlinePassed
        return cast("JobOutcome | None", self.connection.recv())

    def close(self, timeout_s: float) -> None:
        """Closes the connection, which ends the child; kills it if it has not ended after `timeout_s`."""
        self.connection.close()
        self.process.join(timeout_s)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


class Isolation:
    """Owns at most one child, started when it is needed, because a second model takes memory. Threads take turns."""

    def __init__(self, settings: Settings, open_base: OpenBase) -> None:
        self._settings = settings
        self._open_base = open_base
        self._turn = threading.Lock()
        self._child: _Child | None = None

    @contextlib.contextmanager
    def turn(self, is_over: Callable[[], bool]) -> Iterator[bool]:
        """Waits for the child and reserves it while the block runs. Yields False if `is_over` came first."""
        has_turn = False
        while not (is_over() or has_turn):
            has_turn = self._turn.acquire(timeout=POLL_S)
        try:
            yield has_turn
        finally:
            if has_turn:
                self._turn.release()

    def run(self, claim: Claim, is_stopping: Callable[[], bool], deadline: float) -> tuple[RunEnd, JobOutcome | None]:
        """Runs the job in the child, which writes the answer itself. The caller holds the turn and the lease.

        deadline: by `time.monotonic()`; a child that is still busy then is killed.
        Returns the outcome, too, if the child reported one.
        """
        end, outcome = self._run(claim, is_stopping, deadline)
        log.info("suspect_finished", job_id=str(claim.id), end=end.value, crashes=claim.crashes)
        return end, outcome

    def close(self) -> None:
        """Ends the child, if there is one."""
        with self._turn:
            self._discard(CLOSE_S)

    def _run(self, claim: Claim, is_stopping: Callable[[], bool], deadline: float) -> tuple[RunEnd, JobOutcome | None]:
        is_new, has_started = self._child is None, False
        try:
            child = self._child = self._child or _Child(self._settings, self._open_base)
            child.connection.send(claim)
            child.receive(is_stopping, deadline)
            has_started = True
            return RunEnd.DONE, child.receive(is_stopping, deadline)
        except (EOFError, OSError):
            self._discard()
            if has_started:
                return RunEnd.DIED, None
            # A child that exited because it was idle is not this job's fault: try once more with a new one.
            return (RunEnd.NOT_STARTED, None) if is_new else self._run(claim, is_stopping, deadline)
        except _DeadlinePassed:
            self._discard()
            return RunEnd.DIED if has_started else RunEnd.NOT_STARTED, None
        except _Stopped:
            self._discard()
            return RunEnd.STOPPED, None

    def _discard(self, timeout_s: float = 0.0) -> None:
        if self._child is not None:
            self._child.close(timeout_s)
            self._child = None

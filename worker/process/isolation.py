"""Runs suspects, jobs whose worker died before, alone in a child process, and tells how that ended."""

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
from worker.job_metrics import Ended
from worker.process import isolated_child

log = get_logger(__name__)

POLL_S = 0.1
CLOSE_S = 2.0


class End(enum.Enum):
    """How a suspect's run ended."""

    DONE = "done"  # the child brought the job to its end
    DIED = "died"  # the child died on it, or had to be killed at the deadline
    NOT_BEGUN = "not_begun"  # no child could be started: the job has done nothing
    STOPPED = "stopped"  # we were told to stop; the job has done nothing


class _Stopped(Exception):
    pass


class _TooLate(Exception):
    pass


class _Child:
    """One child process and the line to it."""

    def __init__(self, settings: Settings) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=isolated_child.serve, args=(settings, theirs), name="suspect", daemon=True
        )
        self.process.start()
        theirs.close()  # or we would never hear that the child is gone

    def hear(self, is_stopping: Callable[[], bool], ends_at: float) -> Ended | None:
        """Waits for the child's next word: None that it has begun, or how the job ended.

        Raises EOFError when it died, _Stopped, _TooLate.
        """
        while not self.connection.poll(POLL_S):
            if is_stopping():
                raise _Stopped
            if time.monotonic() > ends_at:
                raise _TooLate
        return cast("Ended | None", self.connection.recv())

    def close(self, patience_s: float) -> None:
        """Hangs up, upon which the child ends by itself; kills it when it does not."""
        self.connection.close()
        self.process.join(patience_s)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


class Isolation:
    """One child at a time, made when it is needed: a second model takes memory. Threads take turns."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turn = threading.Lock()
        self._child: _Child | None = None

    @contextlib.contextmanager
    def turn(self, is_over: Callable[[], bool]) -> Iterator[bool]:
        """Waits until the child is free, and keeps it so for the block; False when it `is_over` before that."""
        has_turn = False
        while not (is_over() or has_turn):
            has_turn = self._turn.acquire(timeout=POLL_S)
        try:
            yield has_turn
        finally:
            if has_turn:
                self._turn.release()

    def run(self, claim: Claim, is_stopping: Callable[[], bool], ends_at: float) -> tuple[End, Ended | None]:
        """Brings the job to its end in the child, which writes the answer itself. The caller keeps turn and lease.

        ends_at: by time.monotonic(); a child that is busy then is killed. Answers, too, what the child did to the job.
        """
        end, ended = self._run(claim, is_stopping, ends_at)
        log.info("suspect_ended", job_id=str(claim.id), end=end.value, crashes=claim.crashes)
        return end, ended

    def close(self) -> None:
        """Ends the child, if there is one."""
        with self._turn:
            self._discard(CLOSE_S)

    def _run(self, claim: Claim, is_stopping: Callable[[], bool], ends_at: float) -> tuple[End, Ended | None]:
        is_fresh, has_begun = self._child is None, False
        try:
            child = self._child = self._child or _Child(self._settings)
            child.connection.send(claim)
            child.hear(is_stopping, ends_at)
            has_begun = True
            return End.DONE, child.hear(is_stopping, ends_at)
        except (EOFError, OSError):
            self._discard()
            if has_begun:
                return End.DIED, None
            # One that left because nobody asked for long is not this job's fault.
            return (End.NOT_BEGUN, None) if is_fresh else self._run(claim, is_stopping, ends_at)
        except _TooLate:
            self._discard()
            return End.DIED if has_begun else End.NOT_BEGUN, None
        except _Stopped:
            self._discard()
            return End.STOPPED, None

    def _discard(self, patience_s: float = 0.0) -> None:
        if self._child is not None:
            self._child.close(patience_s)
            self._child = None

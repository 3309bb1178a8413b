"""What a message asks for: claim its jobs, work on them side by side, give back what a stopping worker cannot do."""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime as dt
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import TypeVar

from sqlalchemy.orm import Session

from core.errors import DeadlineExceeded, ModelUnavailable, Poison
from core.jobs import lifecycle
from core.jobs.lifecycle import Claim
from core.jobs.queue import Publisher, QueueUnavailable
from core.states import Lane, Status
from core.telemetry.logs import about, get_logger
from worker.job_metrics import Ended, Tally
from worker.pipeline import Pipeline
from worker.process.db_retry import AWAY, outlast
from worker.process.isolation import End, Isolation

T = TypeVar("T")

log = get_logger(__name__)

POLL_S = 0.2


class Chunks:
    """Runs messages.

    `stop()`: jobs that have begun may end, those that have not are given back. `let_go()`: the others are, too.
    """

    def __init__(
        self,
        lane: Lane,
        pipeline: Pipeline,
        publisher: Publisher,
        executor: Executor,
        isolation: Isolation,
        tally: Tally,
    ) -> None:
        self._lane = lane
        self._settings = pipeline.parts.settings.jobs
        self._sessions = pipeline.parts.sessions
        self._leases = pipeline.parts.leases
        self._pipeline = pipeline
        self._publisher = publisher
        self._executor = executor
        self._isolation = isolation
        self._tally = tally
        self._stopping = threading.Event()
        self._letting_go = threading.Event()
        self._abandoned: set[Future[None]] = set()
        self._waiting: set[uuid.UUID] = set()
        self._waiting_lock = threading.Lock()

    def stop(self) -> None:
        self._stopping.set()

    def let_go(self) -> None:
        self._stopping.set()
        self._letting_go.set()

    @property
    def is_quiet(self) -> bool:
        """Whether no thread is still busy with a job that was taken from it."""
        return all(future.done() for future in self._abandoned)

    def run(self, job_ids: Sequence[uuid.UUID]) -> None:
        """Brings those of the jobs that are free to their end. Returns when none of them is ours any more."""
        ends_at = time.monotonic() + self._settings.chunk_deadline_s
        claims, suspects = self._claim(job_ids, ends_at)
        claimed_at = time.monotonic()
        with self._leases.hold(claims):
            running = {self._executor.submit(self._run_one, each, claimed_at): each for each in claims}
            self._run_suspects(suspects, ends_at)
            self._wait(running.keys(), ends_at)
            for future, claim in running.items():
                with about(job_id=claim.id, request_id=claim.request_id):
                    self._tally.count(claim, self._settle(future, claim), claimed_at)

    def _claim(self, job_ids: Sequence[uuid.UUID], ends_at: float) -> tuple[list[Claim], list[uuid.UUID]]:
        """Takes the jobs that may run side by side; tells which are suspects, and takes none of those."""
        alone, most = self._settings.alone_after_crashes, self._settings.max_crashes

        def claim() -> tuple[list[Claim], list[uuid.UUID]]:
            with self._sessions.begin() as session:
                claims = lifecycle.claim(session, job_ids, self._settings.lease_s, most, crashes_below=alone)
                claimed = {each.id for each in claims}
                left = [job_id for job_id in job_ids if job_id not in claimed]
                return claims, lifecycle.suspects(session, left, alone, most) if left else []

        return outlast(claim, lambda: self._is_over(ends_at))

    def _run_suspects(self, job_ids: Sequence[uuid.UUID], ends_at: float) -> None:
        """One after another, each claimed when its turn has come: our own death then counts against one, not all."""
        # What begins late would be killed at the chunk's deadline, and be blamed for it.
        begins_until = ends_at - self._settings.chunk_deadline_s / 2

        def is_over() -> bool:
            return self._stopping.is_set() or time.monotonic() > begins_until

        with self._waiting_once(job_ids) as left:
            while left:
                with self._isolation.turn(is_over) as has_turn:
                    if not has_turn:
                        break
                    self._run_suspect(left.pop(0), is_over, ends_at)
        if left:
            self._publish(left)

    @contextlib.contextmanager
    def _waiting_once(self, job_ids: Sequence[uuid.UUID]) -> Iterator[list[uuid.UUID]]:
        """Those of the jobs that no other message waits with: the sweeper sends again what has waited for long."""
        with self._waiting_lock:
            left = [job_id for job_id in job_ids if job_id not in self._waiting]
            self._waiting.update(left)
        ours = frozenset(left)
        try:
            yield left
        finally:
            self._stop_waiting(ours)

    def _stop_waiting(self, job_ids: Collection[uuid.UUID]) -> None:
        with self._waiting_lock:
            self._waiting.difference_update(job_ids)

    def _run_suspect(self, job_id: uuid.UUID, is_over: Callable[[], bool], ends_at: float) -> None:
        # Now: after its run it may be sent once more, and whoever gets that must not take it for one that waits.
        self._stop_waiting([job_id])
        for claim in self._claim_suspect(job_id, is_over):
            claimed_at = time.monotonic()
            with self._leases.hold([claim]), about(job_id=claim.id, request_id=claim.request_id):
                self._tally.count(claim, self._run_alone(claim, ends_at), claimed_at)

    def _claim_suspect(self, job_id: uuid.UUID, is_over: Callable[[], bool]) -> list[Claim]:
        def claim() -> list[Claim]:
            with self._sessions.begin() as session:
                return lifecycle.claim(session, [job_id], self._settings.lease_s, self._settings.max_crashes)

        try:
            return outlast(claim, is_over)
        except AWAY as error:
            log.warning("suspect_left_to_the_sweeper", job_id=str(job_id), why=type(error).__name__)
            return []

    def _is_over(self, ends_at: float) -> bool:
        return self._letting_go.is_set() or time.monotonic() > ends_at

    def _run_one(self, claim: Claim, claimed_at: float) -> None:
        with about(job_id=claim.id, request_id=claim.request_id):
            ended = self._give_back(claim) if self._stopping.is_set() else self._pipeline.run(claim)
        self._tally.count(claim, ended, claimed_at)

    def _run_alone(self, claim: Claim, ends_at: float) -> Ended | None:
        end, ended = self._isolation.run(claim, self._letting_go.is_set, ends_at)
        match end:
            case End.DONE:
                return ended
            case End.STOPPED:
                return self._give_back(claim)
            case End.NOT_BEGUN:
                error = ModelUnavailable("no process could be started for this job; it is retried")
                return self._pipeline.fail(claim, error)
            case End.DIED:
                return self._count_crash(claim)

    def _wait(self, running: Collection[Future[None]], ends_at: float) -> None:
        """Returns when all have ended, or when their time is up."""
        left: Collection[Future[None]] = running
        while left and not self._is_over(ends_at):
            left = concurrent.futures.wait(left, timeout=POLL_S).not_done

    def _settle(self, future: Future[None], claim: Claim) -> Ended | None:
        """What becomes of a job after the wait: one that has not ended is taken from its thread."""
        if not future.done() or future.cancelled():
            return self._take_away(future, claim)
        if error := future.exception():
            # Not even its failure could be written. The lease runs out, and another worker takes it.
            log.error("job_abandoned", job_id=str(claim.id), why=repr(error))
        return None  # its thread has counted it

    def _take_away(self, future: Future[None], claim: Claim) -> Ended | None:
        self._leases.drop(claim)  # its thread gives up at its next step
        if not future.cancel():
            self._abandoned = {each for each in self._abandoned if not each.done()} | {future}
        if self._letting_go.is_set():
            return self._give_back(claim)
        return self._pipeline.fail(claim, DeadlineExceeded("the job's chunk took too long; the job is tried again"))

    def _count_crash(self, claim: Claim) -> Ended | None:
        status = self._move(claim, lambda session: lifecycle.crash(session, claim, self._settings.max_crashes))
        if status is Status.QUEUED:
            self._publish([claim.id])
            return Ended("retried", Poison.code)
        return Ended(Status.FAILED, Poison.code) if status is Status.FAILED else None

    def _give_back(self, claim: Claim) -> Ended | None:
        if not self._move(claim, lambda session: lifecycle.release(session, claim)):
            return None
        self._publish([claim.id])
        log.info("job_given_back", job_id=str(claim.id))
        return Ended("released")

    def _move(self, claim: Claim, move: Callable[[Session], T]) -> T | None:
        """One transaction. None = Postgres is away: then the job's lease runs out."""
        try:
            with self._sessions.begin() as session:
                return move(session)
        except AWAY as error:
            log.warning("job_left_to_its_lease", job_id=str(claim.id), why=type(error).__name__)
            return None

    def _publish(self, job_ids: Sequence[uuid.UUID]) -> None:
        try:
            self._publisher.publish(job_ids, self._lane, dt.datetime.now(dt.UTC))
        except QueueUnavailable:
            log.warning("publish_failed", jobs=len(job_ids))

"""Puts jobs that this worker cannot finish back into the queue."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy.orm import Session

from core.db.engine import Sessions
from core.db.errors import UNAVAILABLE
from core.errors import Poison
from core.jobs import lifecycle
from core.jobs.lifecycle import Claim
from core.jobs.queue import Publisher, QueueUnavailable
from core.states import Lane, Status
from core.telemetry.logs import get_logger
from worker.job_metrics import JobOutcome

T = TypeVar("T")

log = get_logger(__name__)


class Requeuer:
    """Releases, blames and republishes jobs of one lane. Thread-safe."""

    def __init__(self, sessions: Sessions, publisher: Publisher, lane: Lane, max_crashes: int) -> None:
        self._sessions = sessions
        self._publisher = publisher
        self._lane = lane
        self._max_crashes = max_crashes

    def release(self, claim: Claim) -> JobOutcome | None:
        """Queues the job again without counting anything against it. Returns None if the lease was lost."""
        if not self._write(claim, lambda session: lifecycle.release(session, claim)):
            return None
        self.publish([claim.id])
        log.info("job_released", job_id=str(claim.id))
        return JobOutcome("released")

    def count_crash(self, claim: Claim) -> JobOutcome | None:
        """Counts the death of the child process that ran the job: queues the job again, or fails it as poison.

        Returns None if the lease was lost.
        """
        status = self._write(claim, lambda session: lifecycle.crash(session, claim, self._max_crashes))
        if status is Status.QUEUED:
            self.publish([claim.id])
            return JobOutcome("retried", Poison.code)
        return JobOutcome(Status.FAILED, Poison.code) if status is Status.FAILED else None

    def publish(self, job_ids: Sequence[uuid.UUID]) -> None:
        """Publishes jobs again. If the queue is unavailable, the sweeper publishes them later."""
        try:
            self._publisher.publish(job_ids, self._lane, dt.datetime.now(dt.UTC))
        except QueueUnavailable:
            log.warning("publish_failed", jobs=len(job_ids))

    def _write(self, claim: Claim, move: Callable[[Session], T]) -> T | None:
        """Runs one transaction. Returns None if Postgres is unavailable: then the lease expires."""
        try:
            with self._sessions.begin() as session:
                return move(session)
        except UNAVAILABLE as error:
            log.warning("job_left_to_lease_expiry", job_id=str(claim.id), why=type(error).__name__)
            return None

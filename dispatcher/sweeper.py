"""The sweeper: publishes jobs again whose message was lost, and recovers jobs of dead workers.

A queued job counts as lost if its message was published more than `lost_after_s` before the oldest message in the list
(the list is first in, first out, so the job's message must have left it), or if the list has been empty for that long.
A healthy backlog is therefore never published twice, however old it is. An advisory lock lets only one dispatcher sweep
at a time.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import time
import uuid
from collections.abc import Callable

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core.db.engine import Sessions
from core.db.models import Job
from core.jobs.lifecycle import free_expired
from core.jobs.queue import Publisher, QueueState, QueueUnavailable
from core.settings import Settings
from core.states import Lane, Status
from core.telemetry.logs import get_logger
from core.telemetry.metrics import DispatcherMetrics

log = get_logger(__name__)

SWEEP_LOCK = 4_711_002


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """The numbers of jobs that one sweep requeued, failed as poison, and published."""

    requeued: int = 0
    poisoned: int = 0
    published: int = 0


class Sweeper:
    """Call `sweep` regularly. Its only state is how long each lane's list has been empty, and a grace period."""

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        publisher: Publisher,
        clock: Callable[[], float] = time.monotonic,
        metrics: DispatcherMetrics | None = None,
    ) -> None:
        self._metrics = metrics or DispatcherMetrics()
        self._settings = settings
        self._sessions = sessions
        self._publisher = publisher
        self._clock = clock
        self._empty_since: dict[Lane, float] = {}
        self._grace_until = -math.inf

    def sweep(self) -> SweepResult | None:
        """Runs one sweep. Returns None if another dispatcher holds the lock.

        Raises QueueUnavailable if the queue fails; expired leases have been freed by then.
        """
        outcome = "failed"
        try:
            swept = self._sweep()
            outcome = "skipped" if swept is None else "ok"
            return swept
        except DBAPIError:
            # While Postgres was down, workers could not renew their leases. They get time to do so before leases are
            # freed again.
            self._grace_until = self._clock() + self._settings.jobs.lease_s
            raise
        finally:
            self._metrics.sweeps.labels(outcome).inc()

    def _sweep(self) -> SweepResult | None:
        with self._sessions.begin() as session:
            if not _lock(session):
                return None
            requeued, poisoned = self._free_expired(session)
        self._metrics.jobs_expired.inc(requeued + poisoned)
        self._metrics.jobs_poisoned.inc(poisoned)
        published = sum(self._publish_lost(lane) for lane in Lane)
        swept = SweepResult(requeued, poisoned, published)
        if swept != SweepResult():
            log.info("sweep_finished", **dataclasses.asdict(swept))
        return swept

    def _free_expired(self, session: Session) -> tuple[int, int]:
        if self._clock() < self._grace_until:
            return 0, 0
        return free_expired(session, self._settings.jobs.max_crashes, self._settings.dispatcher.sweep_limit)

    def _publish_lost(self, lane: Lane) -> int:
        state = self._publisher.inspect(lane)
        published_at = dt.datetime.now(dt.UTC)
        with self._sessions.begin() as session:
            if not _lock(session):
                return 0
            lost, sent_before = self._mark_lost(session, lane, state, published_at)
        # Published after the commit: claims skip locked rows, so a worker with an early message would drop it. If this
        # process dies here, a later sweep finds the jobs again.
        try:
            self._publisher.publish(lost, lane, published_at)
        except QueueUnavailable:
            self._mark_unpublished(lost, published_at)
            raise
        self._metrics.jobs_republished.inc(sent_before)
        return len(lost)

    def _mark_unpublished(self, job_ids: list[uuid.UUID], published_at: dt.datetime) -> None:
        """Resets `published_at` of jobs that could not be published."""
        still_ours = and_(Job.id.in_(job_ids), Job.status == Status.QUEUED, Job.published_at == published_at)
        with self._sessions.begin() as session:
            session.execute(update(Job).where(still_ours).values(published_at=None))

    def _mark_lost(
        self, session: Session, lane: Lane, state: QueueState, published_at: dt.datetime
    ) -> tuple[list[uuid.UUID], int]:
        """Marks the jobs to publish as published. Returns them, and how many of them had been published before.

        The others are retries that have become due, or jobs that could not be published before.
        """
        is_due = or_(Job.next_attempt_at.is_(None), Job.next_attempt_at <= func.now())
        never_sent = and_(Job.published_at.is_(None), is_due)
        lost = (
            select(Job.id, Job.published_at)
            .where(Job.lane == lane, Job.status == Status.QUEUED, or_(never_sent, *self._is_lost(lane, state)))
            .order_by(Job.created_at)
            .limit(self._settings.dispatcher.sweep_limit)
            .with_for_update(skip_locked=True)
        )
        rows = session.execute(lost).all()
        job_ids = [row.id for row in rows]
        if job_ids:
            session.execute(
                update(Job).where(Job.id.in_(job_ids)).values(published_at=published_at, next_attempt_at=None)
            )
        return job_ids, sum(row.published_at is not None for row in rows)

    def _is_lost(self, lane: Lane, state: QueueState) -> list[ColumnElement[bool]]:
        margin = dt.timedelta(seconds=self._settings.dispatcher.lost_after_s)
        if state.oldest_published_at is not None:
            self._empty_since.pop(lane, None)
            return [Job.published_at < state.oldest_published_at - margin]
        empty_for_s = self._clock() - self._empty_since.setdefault(lane, self._clock())
        if empty_for_s < self._settings.dispatcher.lost_after_s:
            return []
        return [Job.published_at < dt.datetime.now(dt.UTC) - margin]


def _lock(session: Session) -> bool:
    return bool(session.scalar(select(func.pg_try_advisory_xact_lock(SWEEP_LOCK))))

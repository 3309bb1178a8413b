"""Retries of finished jobs on request: one job by id, or many by their error code."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from core.db.engine import Sessions, make_engine, make_sessions
from core.db.models import Job
from core.jobs import lifecycle
from core.jobs.queue import Publisher, QueueUnavailable
from core.settings import Settings
from core.states import Lane, Status
from core.telemetry.logs import get_logger

log = get_logger(__name__)

BATCH_SIZE = 1000
"""Jobs per transaction, so that a large retry locks no row for long."""


def retry(sessions: Sessions, publisher: Publisher, owner_id: str, job_id: uuid.UUID) -> bool:
    """Queues the owner's failed or canceled job again and publishes it. Returns False if missing or not retryable."""
    published_at = dt.datetime.now(dt.UTC)
    with sessions.begin() as session:
        jobs = lifecycle.retry(session, owner_id, [job_id], published_at)
    _publish(sessions, publisher, jobs, published_at)
    return bool(jobs)


def retry_failed(
    sessions: Sessions, publisher: Publisher, owner_id: str, *, code: str | None = None, limit: int | None = None
) -> int:
    """Queues the owner's failed jobs again, oldest first, and publishes them. Returns their number.

    code: retries only jobs with this `error.code`.
    limit: maximum number of jobs.
    """
    done = 0
    with sessions() as session:
        # Jobs that fail again in the meantime are skipped; otherwise a job that always fails would keep the loop going.
        until = session.scalars(select(func.now())).one()
    while limit is None or done < limit:
        size = BATCH_SIZE if limit is None else min(BATCH_SIZE, limit - done)
        published_at = dt.datetime.now(dt.UTC)
        with sessions.begin() as session:
            job_ids = _failed_before(session, owner_id, until, code, size)
            jobs = lifecycle.retry(session, owner_id, job_ids, published_at)
        if not jobs:
            break
        _publish(sessions, publisher, jobs, published_at)
        done += len(jobs)
    return done


def _failed_before(
    session: Session, owner_id: str, until: dt.datetime, code: str | None, size: int
) -> Sequence[uuid.UUID]:
    failed = select(Job.id).where(Job.owner_id == owner_id, Job.status == Status.FAILED, Job.finished_at < until)
    if code is not None:
        failed = failed.where(Job.error["code"].as_string() == code)
    return session.scalars(failed.order_by(Job.created_at, Job.id).limit(size).with_for_update(skip_locked=True)).all()


def _publish(sessions: Sessions, publisher: Publisher, jobs: Sequence[Job], published_at: dt.datetime) -> None:
    """Publishes the jobs, after the commit. If the queue is unavailable, marks them for the sweeper."""
    by_lane: defaultdict[str, list[uuid.UUID]] = defaultdict(list)
    for job in jobs:
        by_lane[job.lane].append(job.id)
    for lane, job_ids in by_lane.items():
        try:
            publisher.publish(job_ids, Lane(lane), published_at)
        except QueueUnavailable:
            log.warning("publish_failed", jobs=len(job_ids))
            _mark_unpublished(sessions, job_ids)


def _mark_unpublished(sessions: Sessions, job_ids: Sequence[uuid.UUID]) -> None:
    with sessions.begin() as session:
        still_queued = update(Job).where(Job.id.in_(job_ids), Job.status == Status.QUEUED)
        session.execute(still_queued.values(published_at=None).execution_options(synchronize_session=False))


def retry_from_settings(settings: Settings, owner_id: str, *, code: str | None, limit: int | None) -> int:
    """Runs `retry_failed` with new connections, for the command line."""
    engine, publisher = make_engine(settings), Publisher(settings)
    try:
        return retry_failed(make_sessions(engine), publisher, owner_id, code=code, limit=limit)
    finally:
        publisher.close()
        engine.dispose()

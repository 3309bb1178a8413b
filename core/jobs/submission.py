"""Submission of jobs: inserts the row, then publishes the message."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import uuid

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.db.engine import Sessions
from core.db.models import Job
from core.errors import IdempotencyConflict
from core.jobs.queue import Publisher, QueueUnavailable
from core.states import Lane, Status
from core.telemetry.logs import get_logger

log = get_logger(__name__)


@dataclasses.dataclass(frozen=True)
class Submission:
    """A validated request for a job. An upload has been stored already."""

    owner_id: str
    address: str
    is_upload: bool = False
    lane: Lane = Lane.INTERACTIVE
    external_id: str | None = None
    idempotency_key: str | None = None
    webhook_url: str | None = None
    webhook_key_id: str | None = None
    request_id: str | None = None
    traceparent: str | None = None

    @property
    def digest(self) -> str:
        """A hash of the request, to detect an Idempotency-Key that is reused for a different request."""
        parts = [self.address, self.lane, self.external_id, *filter(None, [self.webhook_url])]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def submit(sessions: Sessions, publisher: Publisher, submission: Submission) -> tuple[Job, bool]:
    """Inserts the job, commits and publishes it. Returns the job, and False if its Idempotency-Key was used before.

    If the queue is down, the job is accepted all the same and the sweeper publishes it later.
    Raises IdempotencyConflict if the key was used for a different request.
    """
    published_at = dt.datetime.now(dt.UTC)
    with sessions.begin() as session:
        job = _insert(session, submission, published_at)
        if job is None:
            return _existing_job(session, submission), False
    _publish(sessions, publisher, job, published_at)
    return job, True


def is_repeat(sessions: Sessions, owner_id: str, idempotency_key: str | None) -> bool:
    """Whether the owner has used this Idempotency-Key before."""
    if idempotency_key is None:
        return False
    with sessions() as session:
        seen = select(Job.id).where(Job.owner_id == owner_id, Job.idempotency_key == idempotency_key)
        return session.scalar(seen) is not None


def _insert(session: Session, submission: Submission, published_at: dt.datetime) -> Job | None:
    # `published_at` is set before the message is sent, which saves a second write per job. If publishing fails, it is
    # reset. If the process dies in between, the sweeper finds the row, because it is older than all queued messages.
    statement = insert(Job).values(
        id=uuid.uuid4(),
        owner_id=submission.owner_id,
        external_id=submission.external_id,
        lane=submission.lane,
        address=submission.address,
        is_upload=submission.is_upload,
        idempotency_key=submission.idempotency_key,
        request_digest=submission.digest if submission.idempotency_key else None,
        webhook_url=submission.webhook_url,
        webhook_key_id=submission.webhook_key_id,
        request_id=submission.request_id,
        traceparent=submission.traceparent,
        published_at=published_at,
    )
    statement = statement.on_conflict_do_nothing(index_elements=[Job.owner_id, Job.idempotency_key])
    return session.scalars(statement.returning(Job)).one_or_none()


def _existing_job(session: Session, submission: Submission) -> Job:
    job = session.scalars(
        select(Job).where(Job.owner_id == submission.owner_id, Job.idempotency_key == submission.idempotency_key)
    ).one()
    if job.request_digest != submission.digest:
        raise IdempotencyConflict("this Idempotency-Key was used for a different request; send a new key")
    return job


def _publish(sessions: Sessions, publisher: Publisher, job: Job, published_at: dt.datetime) -> None:
    try:
        publisher.publish([job.id], Lane(job.lane), published_at)
    except QueueUnavailable:
        log.warning("publish_failed", job_id=str(job.id))
        with sessions.begin() as session:
            session.execute(update(Job).where(Job.id == job.id, Job.status == Status.QUEUED).values(published_at=None))

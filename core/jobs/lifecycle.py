"""The state machine of a job: one function per transition.

    queued ──claim──▶ processing ──finish──▶ succeeded
      ▲                 │  │  └────fail────▶ failed
      └──release────────┘  └─cancel────────▶ canceled      (cancel also from queued)
         fail_or_retry, crash, free_expired                (retry: failed, canceled ──▶ queued)

Jobs are recovered by leases: `claim` and `renew` set how long a worker may stay silent, and `free_expired` queues the
jobs of silent workers again. Only Postgres's clock is used. Every transition by a worker is fenced by (id, attempt,
status = processing), so a worker that has lost its lease changes nothing. Functions take an open session and leave the
commit to the caller, so that several transitions can share a transaction. NOTIFY and webhook events are part of it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Interval, String, Update, and_, case, cast, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.db.models import Asset, Job, Result
from core.errors import JobError, Poison
from core.settings import JobSettings
from core.states import Lane, Status
from core.webhooks.events import is_watched, job_ended

CHANNEL = "enrich_job"
"""NOTIFY channel that carries the id of each job that reaches a final state."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """A job that this worker owns until the lease expires. `attempt` fences every write about it."""

    id: uuid.UUID
    attempt: int
    owner_id: str
    address: str
    is_upload: bool
    lane: Lane
    retries: int
    crashes: int
    queued_ms: float
    request_id: str | None = None
    traceparent: str | None = None


@dataclasses.dataclass(frozen=True)
class SeenAsset:
    """The image behind a job's address. `width` and `height` are in pixels, after EXIF orientation."""

    sha256: str
    width: int
    height: int
    format: str
    byte_size: int


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The answer of a worker: the content of a result row. `embedding` is float16, little-endian."""

    bundle_name: str
    bundle_version: str
    taxonomy_version: str
    metadata: dict[str, Any]
    predictions: dict[str, Any]
    caption_source: str | None
    timings: dict[str, Any]
    is_degraded: bool = False
    embedding: bytes | None = None
    in_domain: float | None = None


def claim(
    session: Session,
    job_ids: Sequence[uuid.UUID],
    lease_s: float,
    max_crashes: int | None = None,
    crashes_below: int | None = None,
) -> list[Claim]:
    """Claims those of the jobs that are free: queued and due, or held under an expired lease.

    Jobs that are missing from the result are finished, canceled, or held by another worker.

    max_crashes: skips jobs whose worker died for the `max_crashes`th time; `free_expired` fails them as poison.
    crashes_below: skips jobs with as many crashes or more; see `suspects`.
    """
    is_ours = [Job.id.in_(job_ids), _is_free(max_crashes)]
    if crashes_below is not None:
        is_ours.append(_crashes_when_claimed() < crashes_below)
    # Rows are locked in order of id, and locked rows are skipped, so that two copies of a message cannot deadlock.
    free = select(Job.id).where(*is_ours).order_by(Job.id).with_for_update(skip_locked=True).subquery()
    rows = session.execute(
        update(Job)
        .where(Job.id.in_(select(free.c.id)))
        .values(
            status=Status.PROCESSING,
            attempt=Job.attempt + 1,
            crashes=_crashes_when_claimed(),
            lease_expires_at=_after(lease_s),
            next_attempt_at=None,
            started_at=func.now(),
        )
        .returning(Job, (func.extract("epoch", func.now() - Job.created_at) * 1000).label("queued_ms"))
        .execution_options(synchronize_session=False)
    )
    return [_claim(job, float(queued_ms)) for job, queued_ms in rows]


def suspects(session: Session, job_ids: Sequence[uuid.UUID], crashes: int, max_crashes: int) -> list[uuid.UUID]:
    """Returns the free jobs with `crashes` or more, fewest crashes first. Claims none of them."""
    counted = _crashes_when_claimed()
    is_suspect = and_(Job.id.in_(job_ids), _is_free(max_crashes), counted >= crashes)
    return list(session.scalars(select(Job.id).where(is_suspect).order_by(counted, Job.id)))


def _is_free(max_crashes: int | None) -> ColumnElement[bool]:
    is_due = or_(Job.next_attempt_at.is_(None), Job.next_attempt_at <= func.now())
    is_left = _is_expired() if max_crashes is None else and_(_is_expired(), Job.crashes + 1 < max_crashes)
    return or_(and_(Job.status == Status.QUEUED, is_due), is_left)


def _crashes_when_claimed() -> ColumnElement[int]:
    # A free job in `processing` was held by a worker that died.
    return Job.crashes + case((Job.status == Status.PROCESSING, 1), else_=0)


def _claim(job: Job, queued_ms: float) -> Claim:
    return Claim(
        id=job.id,
        attempt=job.attempt,
        owner_id=job.owner_id,
        address=job.address,
        is_upload=job.is_upload,
        lane=Lane(job.lane),
        retries=job.retries,
        crashes=job.crashes,
        queued_ms=queued_ms,
        request_id=job.request_id,
        traceparent=job.traceparent,
    )


def renew(session: Session, held: Sequence[tuple[uuid.UUID, int]], lease_s: float) -> set[uuid.UUID]:
    """Extends the leases of (id, attempt) pairs. Returns the ids that still belong to the caller."""
    fences = [and_(Job.id == job_id, Job.attempt == attempt) for job_id, attempt in held]
    locked = (
        select(Job.id)
        .where(or_(*fences), Job.status == Status.PROCESSING)
        .order_by(Job.id)
        .with_for_update(skip_locked=True)
        .subquery()
    )
    rows = session.scalars(
        update(Job)
        .where(Job.id.in_(select(locked.c.id)))
        .values(lease_expires_at=_after(lease_s))
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    )
    return set(rows)


def finish(session: Session, claim: Claim, asset: SeenAsset, outcome: Outcome) -> bool:
    """Writes the answer and publishes it. Returns False if the lease was lost; the caller must then roll back."""
    result_id = uuid.uuid4()
    session.add(
        Result(
            id=result_id,
            owner_id=claim.owner_id,
            job_id=claim.id,
            asset_id=record_asset(session, claim.owner_id, asset),
            bundle_name=outcome.bundle_name,
            bundle_version=outcome.bundle_version,
            taxonomy_version=outcome.taxonomy_version,
            attempt=claim.attempt,
            answer=outcome.metadata,
            predictions=outcome.predictions,
            caption_source=outcome.caption_source,
            is_degraded=outcome.is_degraded,
            embedding=outcome.embedding,
            in_domain=outcome.in_domain,
            timings=outcome.timings,
        )
    )
    session.flush()
    return _end(session, claim, status=Status.SUCCEEDED, current_result_id=result_id, error=None)


def record_asset(session: Session, owner_id: str, asset: SeenAsset) -> uuid.UUID:
    """Returns the id of the owner's asset with these bytes; inserts it if it is new."""
    statement = insert(Asset).values(id=uuid.uuid4(), owner_id=owner_id, **dataclasses.asdict(asset))
    # DO UPDATE rather than DO NOTHING, because only then does RETURNING include an existing row.
    statement = statement.on_conflict_do_update(
        index_elements=[Asset.owner_id, Asset.sha256], set_={"byte_size": statement.excluded.byte_size}
    )
    return session.execute(statement.returning(Asset.id)).scalar_one()


def fail(session: Session, claim: Claim, error: JobError) -> bool:
    """Ends the job as failed. Returns False if the lease was lost."""
    return _end(session, claim, status=Status.FAILED, error=error_document(error))


def fail_or_retry(session: Session, claim: Claim, error: JobError, settings: JobSettings) -> Status | None:
    """Queues the job again with a delay if the error is retryable and retries are left; fails it otherwise.

    A wait that the image's host asks for (`Retry-After`) is kept, and does not use up a retry as long as the job is
    younger than `patience_s` and the wait is not longer than `retry_max_s`.

    Returns the new status, QUEUED or FAILED; None if the lease was lost.
    """
    is_free = _is_patience_left(claim, error, settings)
    if not error.retryable or (claim.retries >= settings.max_retries and not is_free):
        return Status.FAILED if fail(session, claim, error) else None
    delay_s = retry_delay_s(claim.retries, settings)
    if error.retry_after_s is not None:
        delay_s = max(delay_s, _patient_delay_s(claim, error.retry_after_s, settings))
    is_ours = _put_back(
        session,
        claim,
        retries=Job.retries + (0 if is_free else 1),
        next_attempt_at=_after(delay_s),
        error=error_document(error),
    )
    return Status.QUEUED if is_ours else None


def retry_delay_s(retries: int, settings: JobSettings) -> float:
    """Returns the delay before the next retry, in seconds: doubling, capped, with a jitter of ± 25 %."""
    delay = min(settings.retry_base_s * 2.0**retries, settings.retry_max_s)
    return delay * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, protects nothing


def _is_patience_left(claim: Claim, error: JobError, settings: JobSettings) -> bool:
    asked_s = error.retry_after_s
    return asked_s is not None and asked_s <= settings.retry_max_s and claim.queued_ms < settings.patience_s * 1000


def _patient_delay_s(claim: Claim, retry_after_s: float, settings: JobSettings) -> float:
    """Returns the wait that the host asks for, capped, with a jitter of up to + 25 %: never earlier than asked."""
    # These tries are not counted, so a part of the job's age makes them rarer.
    delay = min(max(retry_after_s, claim.queued_ms / 1000 / 10), settings.retry_max_s)
    return delay * random.uniform(1, 1.25)  # noqa: S311 - spreads load, protects nothing


def release(session: Session, claim: Claim) -> bool:
    """Queues the job again without counting anything against it. The caller publishes it."""
    return _put_back(session, claim)


def crash(session: Session, claim: Claim, max_crashes: int) -> Status | None:
    """Counts the death of the process that ran this job alone.

    Returns QUEUED if the job was queued again, FAILED if it was failed as poison, None if the lease was lost.
    """
    crashes = claim.crashes + 1
    if crashes < max_crashes:
        return Status.QUEUED if _put_back(session, claim, crashes=crashes) else None
    is_ours = _end(session, claim, status=Status.FAILED, crashes=crashes, error=error_document(_poison(crashes)))
    return Status.FAILED if is_ours else None


def _poison(crashes: int) -> Poison:
    return Poison(f"the worker died {crashes} times on this job; check the image, then retry")


def _put_back(
    session: Session, claim: Claim, next_attempt_at: ColumnElement[dt.datetime] | None = None, **values: Any
) -> bool:
    values |= {"lease_expires_at": None, "published_at": None, "next_attempt_at": next_attempt_at}
    values["queued_at"] = func.now() if next_attempt_at is None else next_attempt_at
    statement = _fenced(claim).values(status=Status.QUEUED, **values)
    return session.execute(statement.returning(Job.id)).first() is not None


def cancel(session: Session, owner_id: str, job_id: uuid.UUID) -> bool:
    """Cancels a queued or processing job. Returns False if it is missing or has ended."""
    statement = (
        update(Job)
        .where(Job.id == job_id, Job.owner_id == owner_id, Job.status.in_([Status.QUEUED, Status.PROCESSING]))
        .values(status=Status.CANCELED, finished_at=func.now(), lease_expires_at=None, next_attempt_at=None)
    )
    return _finalize_and_notify(session, statement)


def retry(session: Session, owner_id: str, job_ids: Sequence[uuid.UUID], published_at: dt.datetime) -> Sequence[Job]:
    """Queues the owner's failed or canceled jobs again and returns them. The caller publishes them.

    Resets retries and crashes, but not `attempt`, because a worker may still be busy with an earlier attempt.
    """
    statement = (
        update(Job)
        .where(Job.id.in_(job_ids), Job.owner_id == owner_id, Job.status.in_([Status.FAILED, Status.CANCELED]))
        .values(
            status=Status.QUEUED,
            retries=0,
            crashes=0,
            error=None,
            started_at=None,
            finished_at=None,
            next_attempt_at=None,
            published_at=published_at,
            queued_at=func.now(),
        )
    )
    return session.scalars(statement.returning(Job).execution_options(synchronize_session=False)).all()


def free_expired(session: Session, max_crashes: int, limit: int) -> tuple[int, int]:
    """Ends expired leases, each a crash of its job. Returns the numbers of jobs queued again and failed as poison."""
    expired = list(
        session.scalars(
            select(Job).where(_is_expired()).order_by(Job.id).limit(limit).with_for_update(skip_locked=True)
        )
    )
    poisoned = [job for job in expired if job.crashes + 1 >= max_crashes]
    for job in expired:
        job.crashes += 1
        job.lease_expires_at = None
        job.published_at = None
        job.queued_at = func.now()
        job.status = Status.QUEUED
    for job in poisoned:
        job.status = Status.FAILED
        job.finished_at = func.now()
        job.error = error_document(_poison(job.crashes))
    session.flush()
    for job in poisoned:
        if session.execute(select(is_watched(), _notify_ended()).where(Job.id == job.id)).one()[0]:
            job_ended(session, job.id)
    return len(expired) - len(poisoned), len(poisoned)


def error_document(error: JobError) -> dict[str, Any]:
    """Returns the `error` member of a failed job, as the API serves it."""
    return {"code": error.code, "message": error.message, "retryable": error.retryable}


def _end(session: Session, claim: Claim, **values: Any) -> bool:
    values |= {"finished_at": func.now(), "lease_expires_at": None}
    return _finalize_and_notify(session, _fenced(claim).values(**values))


def _fenced(claim: Claim) -> Update:
    return (
        update(Job)
        .where(Job.id == claim.id, Job.attempt == claim.attempt, Job.status == Status.PROCESSING)
        .execution_options(synchronize_session=False)
    )


def _finalize_and_notify(session: Session, statement: Update) -> bool:
    """Ends the job, notifies listeners, and writes its webhook event if any endpoint wants it. False if not ours."""
    row = session.execute(statement.returning(Job.id, is_watched(), _notify_ended())).one_or_none()
    if row is None:
        return False
    job_id, has_watchers, _ = row
    if has_watchers:
        job_ended(session, job_id)
    return True


def _notify_ended() -> ColumnElement[str]:
    """Sends NOTIFY with the id of each row that the statement ends.

    Part of RETURNING, so that ending a job and announcing it cost one round trip.
    """
    return func.pg_notify(CHANNEL, cast(Job.id, String))


def _is_expired() -> ColumnElement[bool]:
    return and_(Job.status == Status.PROCESSING, Job.lease_expires_at < func.now())


def _after(seconds: float) -> ColumnElement[dt.datetime]:
    return func.now() + cast(literal(dt.timedelta(seconds=seconds)), Interval)

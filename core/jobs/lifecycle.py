"""The state machine of a job, as the few statements that move it.

    queued ──claim──▶ processing ──finish──▶ succeeded
      ▲                 │  │  └────fail────▶ failed
      └──release────────┘  └─cancel────────▶ canceled      (cancel also from queued)
         fail_or_retry, crash, free_expired                (retry: failed, canceled ──▶ queued)

Recovery comes from leases: `claim` and `renew` write how long the worker may stay silent, `free_expired` takes back
what it lost. Only Postgres's clock is used. Every move of a worker is fenced by (id, attempt, status = processing): one
that lost its lease changes nothing. Functions take an open session and leave the commit to their caller, so that
several moves can be one transaction; NOTIFY goes out with that commit. Webhook events are written in it, too.
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
"""NOTIFY channel on which the id of each job that reached a final state is told."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """A job that is ours until its lease ends. `attempt` is the fence of everything we write about it."""

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
    """The image a job turned out to hold. `width` and `height` in pixels, as a person sees it (EXIF applied)."""

    sha256: str
    width: int
    height: int
    format: str
    byte_size: int


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a worker found: all of a result row but its place in the record. `embedding` is float16, little-endian."""

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
    """Takes those of the jobs that are free: queued and due, or left by a worker whose lease ran out.

    What is not in the answer is not ours: finished, canceled, or held by somebody else; or its worker died for the
    `max_crashes`th time, which `free_expired` will make poison; or it counts `crashes_below` or more, see `suspects`.
    """
    is_ours = [Job.id.in_(job_ids), _is_free(max_crashes)]
    if crashes_below is not None:
        is_ours.append(_crashes_when_claimed() < crashes_below)
    # Locked in one order, and what another claim holds is left to it: two twins of a chunk cannot deadlock.
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
    """Those of the jobs that are free and count `crashes` or more; the least suspect first. Takes none of them."""
    counted = _crashes_when_claimed()
    is_suspect = and_(Job.id.in_(job_ids), _is_free(max_crashes), counted >= crashes)
    return list(session.scalars(select(Job.id).where(is_suspect).order_by(counted, Job.id)))


def _is_free(max_crashes: int | None) -> ColumnElement[bool]:
    is_due = or_(Job.next_attempt_at.is_(None), Job.next_attempt_at <= func.now())
    is_left = _is_expired() if max_crashes is None else and_(_is_expired(), Job.crashes + 1 < max_crashes)
    return or_(and_(Job.status == Status.QUEUED, is_due), is_left)


def _crashes_when_claimed() -> ColumnElement[int]:
    # One that is still `processing` was left by a worker that died.
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
    """Prolongs the leases of (id, attempt) pairs; answers which of them are still ours."""
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
    """Writes the answer and publishes it. False = the job is no longer ours; the caller must roll back."""
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
    """The id of the owner's asset with these bytes, written if it is new."""
    statement = insert(Asset).values(id=uuid.uuid4(), owner_id=owner_id, **dataclasses.asdict(asset))
    # DO UPDATE rather than DO NOTHING: only then does RETURNING give the row that was there.
    statement = statement.on_conflict_do_update(
        index_elements=[Asset.owner_id, Asset.sha256], set_={"byte_size": statement.excluded.byte_size}
    )
    return session.execute(statement.returning(Asset.id)).scalar_one()


def fail(session: Session, claim: Claim, error: JobError) -> bool:
    """Ends the job as failed. False = no longer ours."""
    return _end(session, claim, status=Status.FAILED, error=error_document(error))


def fail_or_retry(session: Session, claim: Claim, error: JobError, settings: JobSettings) -> bool:
    """After a retryable error puts the job back with a delay, while tries are left; else fails it."""
    if not may_retry(claim, error, settings):
        return fail(session, claim, error)
    return _put_back(
        session,
        claim,
        retries=Job.retries + 1,
        next_attempt_at=_after(retry_delay_s(claim.retries, settings)),
        error=error_document(error),
    )


def may_retry(claim: Claim, error: JobError, settings: JobSettings) -> bool:
    """Whether the error may pass, and the job has tries left."""
    return error.retryable and claim.retries < settings.max_retries


def retry_delay_s(retries: int, settings: JobSettings) -> float:
    """Seconds to wait after the `retries`-th retry failed: doubling, capped, with jitter of ± 25 %."""
    delay = min(settings.retry_base_s * 2.0**retries, settings.retry_max_s)
    return delay * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, protects nothing


def release(session: Session, claim: Claim) -> bool:
    """Gives a job back untouched, as a worker does that is told to stop. Counts as nothing; the caller publishes it."""
    return _put_back(session, claim)


def crash(session: Session, claim: Claim, max_crashes: int) -> Status | None:
    """After the process that ran this job alone died: puts it back (queued), or fails it as poison (failed).

    None = no longer ours.
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
    """Cancels a queued or processing job at once. False = it was not there, or had ended already."""
    statement = (
        update(Job)
        .where(Job.id == job_id, Job.owner_id == owner_id, Job.status.in_([Status.QUEUED, Status.PROCESSING]))
        .values(status=Status.CANCELED, finished_at=func.now(), lease_expires_at=None, next_attempt_at=None)
    )
    return _run_and_tell(session, statement)


def retry(session: Session, owner_id: str, job_ids: Sequence[uuid.UUID], published_at: dt.datetime) -> Sequence[Job]:
    """Puts those of the owner's jobs back that failed or were canceled; answers them. The caller publishes them.

    What was counted against them is forgotten; `attempt` is not, since a worker may still be busy with an old one.
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
    """Takes jobs back whose worker fell silent: (requeued, failed as poison). Each counts as a crash of the job."""
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
        if session.execute(select(is_watched(), _told()).where(Job.id == job.id)).one()[0]:
            job_ended(session, job.id)
    return len(expired) - len(poisoned), len(poisoned)


def error_document(error: JobError) -> dict[str, Any]:
    """`error` of a failed job, as the API gives it."""
    return {"code": error.code, "message": error.message, "retryable": error.retryable}


def _end(session: Session, claim: Claim, **values: Any) -> bool:
    values |= {"finished_at": func.now(), "lease_expires_at": None}
    return _run_and_tell(session, _fenced(claim).values(**values))


def _fenced(claim: Claim) -> Update:
    return (
        update(Job)
        .where(Job.id == claim.id, Job.attempt == claim.attempt, Job.status == Status.PROCESSING)
        .execution_options(synchronize_session=False)
    )


def _run_and_tell(session: Session, statement: Update) -> bool:
    """Ends a job; all that is to be known of it comes with the one statement that does."""
    row = session.execute(statement.returning(Job.id, is_watched(), _told())).one_or_none()
    if row is None:
        return False
    job_id, has_watchers, _ = row
    if has_watchers:
        job_ended(session, job_id)
    return True


def _told() -> ColumnElement[str]:
    """NOTIFY with the id of each row of `job` that the statement ends."""
    return func.pg_notify(CHANNEL, cast(Job.id, String))


def _is_expired() -> ColumnElement[bool]:
    return and_(Job.status == Status.PROCESSING, Job.lease_expires_at < func.now())


def _after(seconds: float) -> ColumnElement[dt.datetime]:
    return func.now() + cast(literal(dt.timedelta(seconds=seconds)), Interval)

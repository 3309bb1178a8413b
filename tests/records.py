"""Short ways to put jobs into the record, for tests that play a worker's or a caller's part by hand."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from core.db.engine import Sessions
from core.db.models import LOCAL_OWNER, Job
from core.jobs import lifecycle
from core.jobs.lifecycle import Claim, Outcome, SeenAsset
from core.jobs.queue import Publisher
from core.jobs.submission import Submission, submit
from core.states import Lane, Status

ASSET = SeenAsset(sha256="ab" * 32, width=1800, height=2400, format="JPEG", byte_size=321_000)

METADATA: dict[str, Any] = {
    "gender": "Men",
    "baseColour": "Navy Blue",
    "season": None,
    "usage": "Casual",
    "articleType": "Shirts",
    "subCategory": "Topwear",
    "masterCategory": "Apparel",
    "productDisplayName": "Men Navy Blue Casual Shirt",
}


def outcome(**changes: Any) -> Outcome:
    """A full answer, as a worker would write it."""
    season = {"value": None, "score": 0.41, "threshold": 0.8, "alternatives": [{"value": "Fall", "score": 0.41}]}
    values: dict[str, Any] = {
        "bundle_name": "fashion",
        "bundle_version": "0.1.0",
        "taxonomy_version": "1",
        "metadata": METADATA,
        "predictions": {"season": season},
        "caption_source": "structured",
        "in_domain": None,
        "timings": {
            "queued_ms": 1.0,
            "fetch_ms": 2.0,
            "decode_ms": 3.0,
            "model_ms": 4.0,
            "caption_ms": 0,
            "batch_size": 1,
        },
    }
    return Outcome(**(values | changes))


def new_job(
    sessions: Sessions,
    publisher: Publisher,
    address: str = "https://shop.example/shirt.jpg",
    *,
    owner_id: str = LOCAL_OWNER,
    lane: Lane = Lane.INTERACTIVE,
    external_id: str | None = None,
    idempotency_key: str | None = None,
) -> Job:
    """An accepted and published job."""
    submission = Submission(
        owner_id=owner_id, address=address, lane=lane, external_id=external_id, idempotency_key=idempotency_key
    )
    return submit(sessions, publisher, submission)[0]


def claim_job(sessions: Sessions, job_id: uuid.UUID, lease_s: float = 15) -> Claim | None:
    """Takes the job as a worker would; None when it is not free."""
    with sessions.begin() as session:
        claims = lifecycle.claim(session, [job_id], lease_s)
    return claims[0] if claims else None


def finish_job(sessions: Sessions, claim: Claim, **changes: Any) -> bool:
    """Writes an answer as a worker would."""
    with sessions() as session:
        is_ours = lifecycle.finish(session, claim, ASSET, outcome(**changes))
        session.commit() if is_ours else session.rollback()
    return is_ours


def read_job(sessions: Sessions, job_id: uuid.UUID) -> Job:
    """The row as it stands now."""
    with sessions() as session:
        return session.get_one(Job, job_id)


def open_jobs(sessions: Sessions) -> int:
    """How many jobs have not ended."""
    with sessions() as session:
        return session.scalar(select(func.count()).where(Job.finished_at.is_(None))) or 0


def outcomes(sessions: Sessions, job_ids: Sequence[uuid.UUID]) -> list[str]:
    """Per job its status, or the code of its error when it failed."""
    jobs = [read_job(sessions, job_id) for job_id in job_ids]
    return [job.error["code"] if job.error and job.status == Status.FAILED else job.status for job in jobs]

"""Queries for jobs, stored answers and registered bundles."""

from __future__ import annotations

import dataclasses
import uuid
from typing import Any

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.db.models import (
    SYSTEM_OWNER,
    Asset,
    BundleRow,
    Job,
    Result,
)
from core.db.pagination import decode_cursor, encode_cursor
from core.db.serializers import select_jobs, serialize_job
from core.errors import JobNotFound
from core.jobs.lifecycle import Outcome, SeenAsset
from core.states import Status


@dataclasses.dataclass(frozen=True)
class Page:
    """One page of a list, newest first. `next_cursor` is None on the last page."""

    jobs: list[dict[str, Any]]
    next_cursor: str | None


def get_job(session: Session, owner_id: str, job_id: uuid.UUID) -> dict[str, Any]:
    """Returns the owner's job as JSON. Raises JobNotFound, also for a job of another owner."""
    row = session.execute(select_jobs().where(Job.id == job_id, Job.owner_id == owner_id)).one_or_none()
    if row is None:
        raise JobNotFound("no such job; check the id")
    return serialize_job(row[0], row[1], row[2])


def list_jobs(
    session: Session,
    owner_id: str,
    *,
    limit: int,
    cursor: str | None = None,
    status: Status | None = None,
    external_id: str | None = None,
) -> Page:
    """Returns up to `limit` of the owner's jobs, newest first. Raises InvalidCursor."""
    conditions: list[ColumnElement[bool]] = [Job.owner_id == owner_id]
    if status is not None:
        conditions.append(Job.status == status)
    if external_id is not None:
        conditions.append(Job.external_id == external_id)
    if cursor is not None:
        conditions.append(tuple_(Job.created_at, Job.id) < decode_cursor(cursor))
    query = select_jobs().where(*conditions).order_by(Job.created_at.desc(), Job.id.desc()).limit(limit + 1)
    rows = session.execute(query).all()
    last = rows[limit - 1][0] if len(rows) > limit else None
    next_cursor = encode_cursor(last.created_at, last.id) if last else None
    return Page([serialize_job(*row) for row in rows[:limit]], next_cursor)


def find_cached_answer(
    session: Session, owner_id: str, sha256: str, bundle_name: str, bundle_version: str
) -> tuple[SeenAsset, Outcome] | None:
    """Returns an earlier answer of this bundle version to the same bytes and owner. Skips degraded answers."""
    row = session.execute(
        select(Asset, Result)
        .join(Result, Result.asset_id == Asset.id)
        .where(
            Asset.owner_id == owner_id,
            Asset.sha256 == sha256,
            Result.owner_id == owner_id,
            Result.bundle_name == bundle_name,
            Result.bundle_version == bundle_version,
            Result.is_degraded.is_(False),
        )
        .limit(1)
    ).first()
    return (_seen_asset(row[0]), _outcome(row[1])) if row else None


def _seen_asset(asset: Asset) -> SeenAsset:
    return SeenAsset(asset.sha256, asset.width, asset.height, asset.format, asset.byte_size)


def _outcome(result: Result) -> Outcome:
    return Outcome(
        bundle_name=result.bundle_name,
        bundle_version=result.bundle_version,
        taxonomy_version=result.taxonomy_version,
        metadata=result.answer,
        predictions=result.predictions,
        caption_source=result.caption_source,
        timings={},
        embedding=result.embedding,
        in_domain=result.in_domain,
    )


def register_bundle(
    session: Session, *, name: str, version: str, taxonomy: dict[str, Any], description: dict[str, Any], card: str
) -> None:
    """Stores the bundle for the API. Updates the row if the bundle is registered already."""
    content = {"taxonomy": taxonomy, "description": description, "card": card}
    statement = insert(BundleRow).values(id=uuid.uuid4(), owner_id=SYSTEM_OWNER, name=name, version=version, **content)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[BundleRow.owner_id, BundleRow.name, BundleRow.version],
            set_={**content, "registered_at": func.now()},
        )
    )


def latest_bundle(session: Session) -> BundleRow | None:
    """Returns the bundle that was registered last, or None if no worker has started yet."""
    return session.scalars(select(BundleRow).order_by(BundleRow.registered_at.desc()).limit(1)).first()

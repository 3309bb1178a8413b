"""The database tables. Each has an `owner_id`, the owner of the API key that created the row (`local` for `enrich up`).

A job may have several results, for example one per bundle version; `Job.current_result_id` selects the published one.
The API knows the model only through `BundleRow`, which workers register.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    CheckConstraint,
    DateTime,
    Float,
    ForeignKey,
    Index,
    MetaData,
    String,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from core.states import Lane, Status

LOCAL_OWNER = "local"
SYSTEM_OWNER = "system"


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        dt.datetime: DateTime(timezone=True),
        # `json` keeps the order of keys, `jsonb` does not. None is stored as SQL NULL, not as JSON null.
        dict[str, Any]: JSON(none_as_null=True),
        list[str]: JSON(),
    }


class Job(Base):
    """One image to enrich, from its acceptance on."""

    __tablename__ = "job"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    owner_id: Mapped[str]
    external_id: Mapped[str | None]
    lane: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16), default=Status.QUEUED)
    address: Mapped[str]
    is_upload: Mapped[bool] = mapped_column(default=False)
    idempotency_key: Mapped[str | None]
    request_digest: Mapped[str | None] = mapped_column(String(64))
    # The job's one-off webhook URL, whose query string may be a secret, and the API key whose secret signs its events.
    webhook_url: Mapped[str | None]
    webhook_key_id: Mapped[str | None] = mapped_column(String(12))
    # The request that created the job, and the W3C traceparent that its spans continue. They are not stored in the
    # message, because a lost message is published again from the row.
    request_id: Mapped[str | None] = mapped_column(String(64))
    traceparent: Mapped[str | None] = mapped_column(String(55))

    # `attempt` only fences writes; `retries` and `crashes` count failures.
    attempt: Mapped[int] = mapped_column(default=0)
    retries: Mapped[int] = mapped_column(default=0)
    crashes: Mapped[int] = mapped_column(default=0)
    lease_expires_at: Mapped[dt.datetime | None]
    next_attempt_at: Mapped[dt.datetime | None]
    published_at: Mapped[dt.datetime | None]
    # Since when the job has been due: its creation, its last return to the queue, or the time of its next retry.
    # `published_at` cannot be used for this, because it changes when a lost message is published again.
    queued_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())

    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[dt.datetime | None]
    finished_at: Mapped[dt.datetime | None]

    error: Mapped[dict[str, Any] | None]
    current_result_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("result.id", ondelete="SET NULL", use_alter=True)
    )

    __table_args__ = (
        CheckConstraint(f"status in ({', '.join(repr(s.value) for s in Status)})", name="status"),
        CheckConstraint(f"lane in ({', '.join(repr(lane.value) for lane in Lane)})", name="lane"),
        UniqueConstraint("owner_id", "idempotency_key"),
        Index("ix_job_owner_created", "owner_id", "created_at", "id"),
        Index("ix_job_owner_status_created", "owner_id", "status", "created_at", "id"),
        Index("ix_job_owner_external_id", "owner_id", "external_id"),
        # For the sweeper. Stays small, because it leaves out finished jobs.
        Index("ix_job_queued", "lane", "published_at", postgresql_where=text("status = 'queued'")),
        # For the gauge of the oldest queued job, which reads one entry per lane.
        Index("ix_job_waiting", "lane", "queued_at", postgresql_where=text("status = 'queued'")),
        Index("ix_job_leased", "lease_expires_at", postgresql_where=text("status = 'processing'")),
    )


class Asset(Base):
    """An image, identified by owner and content. The same bytes at different addresses are one asset."""

    __tablename__ = "asset"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    owner_id: Mapped[str]
    sha256: Mapped[str] = mapped_column(String(64))
    width: Mapped[int]
    height: Mapped[int]
    format: Mapped[str] = mapped_column(String(16))
    byte_size: Mapped[int]
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())

    __table_args__ = (UniqueConstraint("owner_id", "sha256"),)


class Result(Base):
    """The answer of one bundle version to one job."""

    __tablename__ = "result"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    owner_id: Mapped[str]
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    asset_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("asset.id"))
    bundle_name: Mapped[str]
    bundle_version: Mapped[str]
    taxonomy_version: Mapped[str]
    attempt: Mapped[int]
    # The column is `metadata`, a name that SQLAlchemy reserves on mapped classes.
    answer: Mapped[dict[str, Any]] = mapped_column("metadata")
    predictions: Mapped[dict[str, Any]]
    caption_source: Mapped[str | None] = mapped_column(String(16))
    is_degraded: Mapped[bool] = mapped_column(default=False)
    # The image as a unit vector: float16, little-endian. Vectors of different bundle versions are not comparable.
    embedding: Mapped[bytes | None]
    in_domain: Mapped[float | None] = mapped_column(Float)
    timings: Mapped[dict[str, Any]]
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        Index("ix_result_job", "job_id"),
        Index("ix_result_asset_bundle", "asset_id", "bundle_name", "bundle_version"),
    )


class BundleRow(Base):
    """A model bundle that a worker has loaded. The API serves its description from here."""

    __tablename__ = "bundle"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    owner_id: Mapped[str] = mapped_column(default=SYSTEM_OWNER)
    name: Mapped[str]
    version: Mapped[str]
    taxonomy: Mapped[dict[str, Any]]
    description: Mapped[dict[str, Any]]
    card: Mapped[str]
    registered_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())

    __table_args__ = (UniqueConstraint("owner_id", "name", "version"),)


class ApiKey(Base):
    """An API key. `id` is its public part; its secret is stored only as a SHA-256 hash."""

    __tablename__ = "api_key"

    id: Mapped[str] = mapped_column(String(12), primary_key=True)
    owner_id: Mapped[str]
    name: Mapped[str]
    secret_sha256: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]]
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    last_used_at: Mapped[dt.datetime | None]
    revoked_at: Mapped[dt.datetime | None]

    __table_args__ = (Index("ix_api_key_owner", "owner_id", "created_at"),)

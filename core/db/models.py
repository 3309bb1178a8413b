"""The tables, typed. Every one has `owner_id`: whose key made the row (`local` in the embedded default).

A result is a row of its own, and `Job.current_result_id` publishes one of them, so that another (of a newer bundle,
say) can wait beside it. The API learns of the model only through `BundleRow`, which a worker registers.
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
        # `json` keeps the order of the keys as we wrote them, `jsonb` does not. None is SQL's NULL, not JSON's null.
        dict[str, Any]: JSON(none_as_null=True),
        list[str]: JSON(),
    }


class Job(Base):
    """One picture to be described, from the moment it was accepted."""

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
    # A one-off address to be told of the end, and the API key whose secret signs it. The query string may be a secret.
    webhook_url: Mapped[str | None]
    webhook_key_id: Mapped[str | None] = mapped_column(String(12))
    # The request that made it, and the span its trace goes on from (W3C): here rather than in the message, which may be
    # lost and made anew from the row.
    request_id: Mapped[str | None] = mapped_column(String(64))
    traceparent: Mapped[str | None] = mapped_column(String(55))

    # `attempt` is only the fence of the final write; what went wrong is counted apart.
    attempt: Mapped[int] = mapped_column(default=0)
    retries: Mapped[int] = mapped_column(default=0)
    crashes: Mapped[int] = mapped_column(default=0)
    lease_expires_at: Mapped[dt.datetime | None]
    next_attempt_at: Mapped[dt.datetime | None]
    published_at: Mapped[dt.datetime | None]
    # Since when it may be worked on: its making, the moment it was put back, or that at which its next try is due.
    # `published_at` does not say it, since a message that was lost is sent anew.
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
        # What the sweeper looks for: small, however many finished jobs there are.
        Index("ix_job_queued", "lane", "published_at", postgresql_where=text("status = 'queued'")),
        # What the gauge of the longest wait looks at: one entry of each lane.
        Index("ix_job_waiting", "lane", "queued_at", postgresql_where=text("status = 'queued'")),
        Index("ix_job_leased", "lease_expires_at", postgresql_where=text("status = 'processing'")),
    )


class Asset(Base):
    """An image by its bytes: the same bytes of one owner are one asset, wherever they were found."""

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
    """One answer of one bundle version to one job."""

    __tablename__ = "result"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    owner_id: Mapped[str]
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    asset_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("asset.id"))
    bundle_name: Mapped[str]
    bundle_version: Mapped[str]
    taxonomy_version: Mapped[str]
    attempt: Mapped[int]
    # `metadata` is SQLAlchemy's own name on a mapped class.
    answer: Mapped[dict[str, Any]] = mapped_column("metadata")
    predictions: Mapped[dict[str, Any]]
    caption_source: Mapped[str | None] = mapped_column(String(16))
    is_degraded: Mapped[bool] = mapped_column(default=False)
    # The picture as a vector of length 1: float16, little-endian. Only vectors of one bundle version compare.
    embedding: Mapped[bytes | None]
    in_domain: Mapped[float | None] = mapped_column(Float)
    timings: Mapped[dict[str, Any]]
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        Index("ix_result_job", "job_id"),
        Index("ix_result_asset_bundle", "asset_id", "bundle_name", "bundle_version"),
    )


class BundleRow(Base):
    """A model bundle that a worker has loaded: all that the API tells of the model."""

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
    """A caller's credential. `id` is the key's public part; of the secret only its SHA-256 is kept."""

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

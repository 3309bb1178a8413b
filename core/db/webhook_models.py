"""The tables of webhooks.

An event stores the exact text that is sent, so that all attempts send the same bytes even if the job changes.
A one-off address (`webhook_url` of a job) is also stored as an endpoint, one per API key and origin. It has its own
health state, limits and secret like any endpoint, while its deliveries store the full URL.
"""

from __future__ import annotations

import datetime as dt
import enum
import uuid

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    String,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from core.db.models import Base


class EventType(enum.StrEnum):
    """The type of an event."""

    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELED = "job.canceled"
    BATCH_COMPLETED = "batch.completed"
    ENDPOINT_TEST = "endpoint.test"


class DeliveryStatus(enum.StrEnum):
    """The status of a delivery: pending → delivered | failed. A replay makes it pending again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Trigger(enum.StrEnum):
    """Why an attempt was made."""

    SCHEDULE = "schedule"
    PROBE = "probe"


class DisabledReason(enum.StrEnum):
    """Why an endpoint is disabled."""

    BY_OWNER = "disabled_by_owner"
    GONE = "answered_410_gone"
    FAILING = "failed_too_long"


class WebhookSecret(Base):
    """A signing secret: of one endpoint, or the default of an API key for one-off addresses (`key_id` is set)."""

    __tablename__ = "webhook_secret"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    owner_id: Mapped[str]
    key_id: Mapped[str | None]
    current: Mapped[str]
    # During a rotation, requests are signed with both secrets.
    previous: Mapped[str | None]
    previous_until: Mapped[dt.datetime | None]
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())

    __table_args__ = (UniqueConstraint("owner_id", "key_id"),)


class WebhookEndpoint(Base):
    """A URL that receives events, and its health.

    `failures` counts consecutive failures, and `failing_since` is the time of the first of them. Nothing is sent before
    `rest_until`. At `probe_at` the oldest pending event is attempted, whether or not it is due.
    """

    __tablename__ = "webhook_endpoint"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    owner_id: Mapped[str]
    secret_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("webhook_secret.id"))
    is_one_off: Mapped[bool] = mapped_column(default=False)
    url: Mapped[str]
    event_types: Mapped[list[str]]
    description: Mapped[str | None]
    max_rate_per_s: Mapped[int | None]

    is_enabled: Mapped[bool] = mapped_column(default=True)
    disabled_reason: Mapped[str | None] = mapped_column(String(32))
    disabled_at: Mapped[dt.datetime | None]

    failures: Mapped[int] = mapped_column(default=0)
    failing_since: Mapped[dt.datetime | None]
    rest_until: Mapped[dt.datetime | None]
    probe_at: Mapped[dt.datetime | None]

    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        Index("ix_webhook_endpoint_owner", "owner_id", "created_at", "id"),
        Index(
            "uq_webhook_endpoint_one_off", "secret_id", "url", unique=True, postgresql_where=text("is_one_off = true")
        ),
    )


class WebhookEvent(Base):
    """An event. `body` is the exact text that is signed and sent."""

    __tablename__ = "webhook_event"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    owner_id: Mapped[str]
    type: Mapped[str] = mapped_column(String(32))
    job_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())

    __table_args__ = (Index("ix_webhook_event_job", "job_id"), Index("ix_webhook_event_created", "created_at"))


class WebhookDelivery(Base):
    """The delivery of one event to one endpoint.

    `step` is the position in the retry schedule, and `tries` counts all attempts. `scheduled_at` is the scheduled time
    of the next attempt. `next_attempt_at` is when it may be made, which is earlier after the endpoint has
    recovered. An attempt before `scheduled_at` does not advance `step`.
    """

    __tablename__ = "webhook_delivery"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    owner_id: Mapped[str]
    event_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("webhook_event.id", ondelete="CASCADE"))
    endpoint_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("webhook_endpoint.id", ondelete="CASCADE"))
    url: Mapped[str | None]

    status: Mapped[str] = mapped_column(String(16), default=DeliveryStatus.PENDING)
    step: Mapped[int] = mapped_column(default=0)
    tries: Mapped[int] = mapped_column(default=0)
    scheduled_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    next_attempt_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    claimed_until: Mapped[dt.datetime | None]
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[dt.datetime | None]

    __table_args__ = (
        CheckConstraint(f"status in ({', '.join(repr(s.value) for s in DeliveryStatus)})", name="status"),
        # For the dispatcher. Stays small, because it leaves out finished deliveries.
        Index(
            "ix_webhook_delivery_pending",
            "endpoint_id",
            "next_attempt_at",
            postgresql_where=text("status = 'pending'"),
        ),
        Index("ix_webhook_delivery_owner_created", "owner_id", "created_at", "id"),
        Index("ix_webhook_delivery_endpoint_created", "endpoint_id", "created_at", "id"),
        Index("ix_webhook_delivery_event", "event_id"),
    )


class WebhookAttempt(Base):
    """One request to an endpoint and its result. `error` is an error code if there was no response."""

    __tablename__ = "webhook_attempt"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    owner_id: Mapped[str]
    endpoint_id: Mapped[uuid.UUID]
    delivery_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("webhook_delivery.id", ondelete="CASCADE"))
    trigger: Mapped[str] = mapped_column(String(16))
    status_code: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(String(32))
    answer: Mapped[str | None]
    latency_ms: Mapped[float]
    started_at: Mapped[dt.datetime]

    __table_args__ = (
        Index("ix_webhook_attempt_delivery", "delivery_id", "id"),
        Index("ix_webhook_attempt_endpoint", "endpoint_id", "id"),
    )

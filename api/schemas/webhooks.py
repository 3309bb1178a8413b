"""Pydantic models of webhook endpoints and deliveries."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from api.schemas.jobs import Request, check_plain
from core.db.webhook_models import (
    DeliveryStatus,
    DisabledReason,
    EventType,
    Trigger,
)

EndpointUrl = Annotated[str, Field(min_length=1, max_length=4096)]
Description = Annotated[str, Field(max_length=500), AfterValidator(check_plain)]
EventTypes = Annotated[list[EventType], Field(max_length=20)]
RatePerS = Annotated[int, Field(ge=1, le=10_000)]


class EndpointRequest(Request):
    """A new endpoint."""

    url: EndpointUrl = Field(
        description="URL that receives events: https or http. Its query string is used and never returned.",
        examples=["https://shop.example/hooks/enrich"],
    )
    event_types: EventTypes = Field([], description="Events to subscribe to; all if empty or omitted.")
    description: Description | None = Field(None, description="Your own description.", examples=["catalogue import"])
    max_rate_per_s: RatePerS | None = Field(
        None, description="Maximum attempts per second; the service has its own limit, too."
    )
    enabled: bool = Field(True, description="Whether events are sent to the endpoint.")


class EndpointChanges(Request):
    """Changes of an endpoint. Omitted fields keep their values."""

    # Factories, because the documentation shows plain defaults, and they are never applied.
    url: EndpointUrl = Field(default_factory=str, description="New URL.")
    event_types: EventTypes = Field(default_factory=list, description="Events to subscribe to; all if empty.")
    description: Description | None = Field(None, description="Your own description.")
    max_rate_per_s: RatePerS | None = Field(None, description="Maximum attempts per second.")
    enabled: bool = Field(
        default_factory=lambda: True,
        description="`true` also resets failures and sends pending deliveries immediately.",
    )


class RotateRequest(Request):
    """Options of a secret rotation."""

    overlap_s: float | None = Field(
        None, ge=0, le=30 * 86_400, description="How long the old secret stays valid, in seconds; one day if omitted."
    )


class ReplayRequest(Request):
    """Time range of the failed deliveries to replay."""

    since: AwareDatetime = Field(description="Start of the range.", examples=["2026-03-01T22:00:00Z"])
    until: AwareDatetime | None = Field(None, description="End of the range; now if omitted.")


class DeliveriesQuery(Request):
    """Filters and paging of the list of deliveries."""

    cursor: str | None = Field(None, max_length=300, description="`next_cursor` of the previous page.")
    status: DeliveryStatus | None = Field(None, description="Only deliveries with this status.")
    job_id: uuid.UUID | None = Field(None, description="Only deliveries of this job's events.")
    limit: int | None = Field(None, ge=1, le=1000, description="Maximum page size; the service has its own limit, too.")


MAX_BIGINT = 2**63 - 1


class AttemptsQuery(Request):
    """Paging of the list of attempts."""

    cursor: int | None = Field(None, ge=0, le=MAX_BIGINT, description="`next_cursor` of the previous page.")
    after: int | None = Field(
        None, ge=0, le=MAX_BIGINT, description="Only attempts newer than this id, oldest first, for following them."
    )
    limit: int | None = Field(None, ge=1, le=1000, description="Maximum page size; the service has its own limit, too.")


class EndpointDocument(BaseModel):
    """An endpoint and its health."""

    id: uuid.UUID
    url: str = Field(description="The URL without the query string.")
    event_types: list[EventType]
    description: str | None
    max_rate_per_s: int | None
    enabled: bool
    disabled_reason: DisabledReason | None = Field(
        description="`disabled_by_owner`, `answered_410_gone`, or `failed_too_long` (five days without success)."
    )
    disabled_at: dt.datetime | None
    failing_since: dt.datetime | None = Field(
        description="Time of the first failure since the last success; `null` if healthy."
    )
    failures: int = Field(description="Consecutive failures.")
    waiting: int = Field(description="Number of pending deliveries.")
    oldest_waiting_s: float | None = Field(description="Age of the oldest pending delivery in seconds.")
    created_at: dt.datetime
    updated_at: dt.datetime


class SecretDocument(BaseModel):
    """The secret for verifying signatures. During a rotation events are signed with both secrets."""

    secret: str = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
    previous_secret: str | None
    previous_valid_until: dt.datetime | None


class NewEndpointDocument(EndpointDocument, SecretDocument):
    """A new endpoint with its secret."""


class EndpointList(BaseModel):
    """All endpoints, oldest first."""

    endpoints: list[EndpointDocument]


class DeliveryDocument(BaseModel):
    """The delivery of one event to one endpoint."""

    id: uuid.UUID
    event_id: str = Field(description="Value of the header `webhook-id`, the same in every attempt.")
    event_type: EventType
    job_id: uuid.UUID | None
    endpoint_id: uuid.UUID | None = Field(description="`null` for a delivery to the job's own `webhook_url`.")
    url: str
    status: DeliveryStatus
    tries: int = Field(description="Number of attempts so far.")
    next_attempt_at: dt.datetime | None
    created_at: dt.datetime
    finished_at: dt.datetime | None


class AttemptDocument(BaseModel):
    """One request to an endpoint, and its outcome."""

    id: int
    delivery_id: uuid.UUID
    event_id: str
    event_type: EventType
    trigger: Trigger = Field(description="`schedule`, or `probe` to check whether a failing endpoint has recovered.")
    status_code: int | None = Field(description="HTTP status of the response; `null` if there was none.")
    error: str | None = Field(
        description="Why there was no response: `timeout`, `connection_failed`, `address_blocked` or `internal_error`."
    )
    answer: str | None = Field(description="The first 500 characters of the response body.")
    latency_ms: float
    started_at: dt.datetime


class DeliveryDetail(DeliveryDocument):
    """A delivery with its attempts and the request body."""

    attempts: list[AttemptDocument]
    body: dict[str, Any]


class DeliveryPage(BaseModel):
    """One page of deliveries, newest first."""

    deliveries: list[DeliveryDocument]
    next_cursor: str | None


class AttemptPage(BaseModel):
    """One page of attempts."""

    attempts: list[AttemptDocument]
    next_cursor: str | None


class ReplayDocument(BaseModel):
    """Number of replayed deliveries."""

    replayed: int

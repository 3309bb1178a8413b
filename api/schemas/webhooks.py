"""The JSON of webhooks, as Pydantic models."""

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
        description="Where events are sent: https or http. Its query string is used and never shown again.",
        examples=["https://shop.example/hooks/enrich"],
    )
    event_types: EventTypes = Field([], description="Which events it wants; all when empty or left out.")
    description: Description | None = Field(None, description="Your own words for it.", examples=["catalogue import"])
    max_rate_per_s: RatePerS | None = Field(
        None, description="Most attempts per second; the service has its own limit."
    )
    enabled: bool = Field(True, description="Nothing is sent to an endpoint that is not enabled.")


class EndpointChanges(Request):
    """What is to change; what is left out stays."""

    # Factories, because a default in the document would read as if it were applied.
    url: EndpointUrl = Field(default_factory=str, description="A new address.")
    event_types: EventTypes = Field(default_factory=list, description="Which events it wants; all when empty.")
    description: Description | None = Field(None, description="Your own words for it.")
    max_rate_per_s: RatePerS | None = Field(None, description="Most attempts per second.")
    enabled: bool = Field(
        default_factory=lambda: True, description="`true` also forgets failures, and sends at once what waits."
    )


class RotateRequest(Request):
    """How to replace a secret."""

    overlap_s: float | None = Field(
        None, ge=0, le=30 * 86_400, description="How long the old secret stays valid, in seconds; a day if left out."
    )


class ReplayRequest(Request):
    """Which failed deliveries to send again."""

    since: AwareDatetime = Field(description="From events of this moment on.", examples=["2026-03-01T22:00:00Z"])
    until: AwareDatetime | None = Field(None, description="Up to this moment; until now if left out.")


class DeliveriesQuery(Request):
    """Which deliveries to list."""

    cursor: str | None = Field(None, max_length=300, description="`next_cursor` of the page before.")
    status: DeliveryStatus | None = Field(None, description="Only deliveries in this state.")
    job_id: uuid.UUID | None = Field(None, description="Only deliveries that tell of this job.")
    limit: int | None = Field(None, ge=1, le=1000, description="Most in the page; the service has its own limit.")


LARGEST_ID = 2**63 - 1
"""Of what Postgres counts as BIGINT."""


class AttemptsQuery(Request):
    """Which attempts to list."""

    cursor: int | None = Field(None, ge=0, le=LARGEST_ID, description="`next_cursor` of the page before.")
    after: int | None = Field(
        None, ge=0, le=LARGEST_ID, description="Only attempts newer than this id, oldest first: to follow them."
    )
    limit: int | None = Field(None, ge=1, le=1000, description="Most in the page; the service has its own limit.")


class EndpointDocument(BaseModel):
    """An endpoint and how it fares."""

    id: uuid.UUID
    url: str = Field(description="Its address without the query string.")
    event_types: list[EventType]
    description: str | None
    max_rate_per_s: int | None
    enabled: bool
    disabled_reason: DisabledReason | None = Field(
        description="`disabled_by_owner`, `answered_410_gone`, or `failed_too_long` (five days without a success)."
    )
    disabled_at: dt.datetime | None
    failing_since: dt.datetime | None = Field(description="First failure since the last success; `null`: all is well.")
    failures: int = Field(description="Failures in a row.")
    waiting: int = Field(description="Deliveries that wait for it.")
    oldest_waiting_s: float | None = Field(description="Age of the oldest of them in seconds.")
    created_at: dt.datetime
    updated_at: dt.datetime


class SecretDocument(BaseModel):
    """What to verify with. During a rotation everything carries a signature of each."""

    secret: str = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
    previous_secret: str | None
    previous_valid_until: dt.datetime | None


class NewEndpointDocument(EndpointDocument, SecretDocument):
    """A new endpoint, with its secret."""


class EndpointList(BaseModel):
    """All endpoints, oldest first."""

    endpoints: list[EndpointDocument]


class DeliveryDocument(BaseModel):
    """One event on its way to one endpoint."""

    id: uuid.UUID
    event_id: str = Field(description="The header `webhook-id`: the same in every repetition.")
    event_type: EventType
    job_id: uuid.UUID | None
    endpoint_id: uuid.UUID | None = Field(description="`null`: the job's own `webhook_url`.")
    url: str
    status: DeliveryStatus
    tries: int = Field(description="Attempts made.")
    next_attempt_at: dt.datetime | None
    created_at: dt.datetime
    finished_at: dt.datetime | None


class AttemptDocument(BaseModel):
    """One request that was made, and what came of it."""

    id: int
    delivery_id: uuid.UUID
    event_id: str
    event_type: EventType
    trigger: Trigger = Field(description="`schedule`, or `probe`: a look whether a failing endpoint is back.")
    status_code: int | None = Field(description="Of the answer; `null` when there was none.")
    error: str | None = Field(
        description="Why there was no answer: `timeout`, `connection_failed`, `address_blocked` or `internal_error`."
    )
    answer: str | None = Field(description="The first 500 characters of the answer's body.")
    latency_ms: float
    started_at: dt.datetime


class DeliveryDetail(DeliveryDocument):
    """A delivery with its attempts, and the body that is sent."""

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
    """How many deliveries begin anew."""

    replayed: int

"""An owner's endpoints: create, read, change and delete, and validation of their URLs."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, case, func, select, update
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import Session

from core.db.engine import Sessions
from core.db.webhook_models import (
    DeliveryStatus,
    DisabledReason,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookSecret,
)
from core.errors import (
    EndpointNotFound,
    FetchBlocked,
    FetchFailed,
    InvalidAddress,
    TooManyEndpoints,
)
from core.net.ssrf_guard import Guard
from core.net.urls import DEFAULT_PORTS, Address
from core.webhooks import secrets
from core.webhooks.events import wake_dispatcher

DELETE_BATCH_SIZE = 1000
"""Deliveries per transaction."""


@dataclasses.dataclass(frozen=True)
class Backlog:
    """The pending deliveries of an endpoint: their number, and the age of the oldest in seconds."""

    waiting: int
    oldest_s: float | None


def validate_url(url: str, guard: Guard) -> str:
    """Returns the URL in its normal form. Raises InvalidAddress if it is not valid or may not be requested."""
    address = Address.parse(url)
    if address.scheme not in DEFAULT_PORTS:
        raise InvalidAddress("The URL of an endpoint must start with https or http.")
    try:
        guard.approve(address)
    except FetchBlocked:
        raise InvalidAddress(
            "Events may not be sent to this address: use a standard web port of a host on the public internet."
        ) from None
    except FetchFailed as error:
        raise InvalidAddress(error.message) from None
    return str(address)


def create(
    session: Session,
    owner_id: str,
    *,
    url: str,
    event_types: Sequence[str] = (),
    description: str | None = None,
    max_rate_per_s: int | None = None,
    is_enabled: bool = True,
    limit: int,
) -> WebhookEndpoint:
    """Creates an endpoint with a new secret. Empty `event_types` subscribe to all. Raises TooManyEndpoints."""
    if len(list_all(session, owner_id)) >= limit:
        raise TooManyEndpoints(f"you may have at most {limit} endpoints; delete one that is not used")
    endpoint = WebhookEndpoint(
        id=uuid.uuid4(),
        owner_id=owner_id,
        secret_id=secrets.make(session, owner_id).id,
        url=url,
        event_types=list(event_types),
        description=description,
        max_rate_per_s=max_rate_per_s,
        is_enabled=is_enabled,
        disabled_reason=None if is_enabled else DisabledReason.BY_OWNER,
    )
    session.add(endpoint)
    session.flush()
    return endpoint


def get(session: Session, owner_id: str, endpoint_id: uuid.UUID) -> WebhookEndpoint:
    """Returns the endpoint. Raises EndpointNotFound, also for an endpoint of another owner."""
    endpoint = session.scalars(select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id, _is_of(owner_id)))
    if (row := endpoint.one_or_none()) is None:
        raise EndpointNotFound("no such endpoint; check the id")
    return row


def list_all(session: Session, owner_id: str) -> Sequence[WebhookEndpoint]:
    """Returns all endpoints of the owner, oldest first, at most ENRICH_WEBHOOKS__MAX_ENDPOINTS."""
    query = select(WebhookEndpoint).where(_is_of(owner_id))
    return session.scalars(query.order_by(WebhookEndpoint.created_at, WebhookEndpoint.id)).all()


def change(session: Session, owner_id: str, endpoint_id: uuid.UUID, changes: dict[str, Any]) -> WebhookEndpoint:
    """Sets the columns in `changes`. Enabling an endpoint resets its failures and makes pending deliveries due."""
    endpoint = get(session, owner_id, endpoint_id)
    was_enabled = endpoint.is_enabled
    for name, value in changes.items():
        setattr(endpoint, name, value)
    endpoint.updated_at = func.now()
    if changes.get("is_enabled") and not was_enabled:
        endpoint.disabled_reason = endpoint.disabled_at = None
        reset_failures(endpoint)
        session.flush()
        release_pending(session, [endpoint_id])
    elif changes.get("is_enabled") is False and was_enabled:
        endpoint.disabled_reason, endpoint.disabled_at = DisabledReason.BY_OWNER, func.now()
    session.flush()
    session.refresh(endpoint)
    return endpoint


def reset_failures(endpoint: WebhookEndpoint) -> None:
    """Marks the endpoint as healthy."""
    endpoint.failures = 0
    endpoint.failing_since = endpoint.rest_until = endpoint.probe_at = None


def release_pending(session: Session, endpoint_ids: Sequence[uuid.UUID]) -> None:
    """Makes all pending deliveries of these endpoints due now, oldest first."""
    session.execute(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.endpoint_id.in_(endpoint_ids),
            WebhookDelivery.status == DeliveryStatus.PENDING,
            WebhookDelivery.next_attempt_at > func.now(),
        )
        # Distinct times in the past keep their order.
        .values(next_attempt_at=WebhookDelivery.created_at)
        .execution_options(synchronize_session=False)
    )
    wake_dispatcher(session)


def delete(sessions: Sessions, owner_id: str, endpoint_id: uuid.UUID) -> None:
    """Deletes the endpoint with its deliveries, attempts and secret. After an interruption it can be called again.

    Deliveries are deleted in small batches, because jobs that finish in the meantime wait for a lock on the endpoint.
    """
    with sessions.begin() as session:
        get(session, owner_id, endpoint_id).is_enabled = False  # prevents new deliveries
    some = select(WebhookDelivery.id).where(WebhookDelivery.endpoint_id == endpoint_id).limit(DELETE_BATCH_SIZE)
    while True:
        with sessions.begin() as session:
            gone = session.scalars(
                sql_delete(WebhookDelivery).where(WebhookDelivery.id.in_(some)).returning(WebhookDelivery.id)
            ).all()
        if len(gone) < DELETE_BATCH_SIZE:
            break
    with sessions.begin() as session:
        endpoint = get(session, owner_id, endpoint_id)
        secret = session.get_one(WebhookSecret, endpoint.secret_id)
        session.delete(endpoint)
        session.flush()
        session.delete(secret)


def backlogs(session: Session, endpoint_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Backlog]:
    """Returns the backlog of each endpoint."""
    age = func.extract("epoch", func.now() - func.min(WebhookDelivery.created_at))
    rows = session.execute(
        select(WebhookDelivery.endpoint_id, func.count(), case((func.count() > 0, age)))
        .where(WebhookDelivery.endpoint_id.in_(endpoint_ids), WebhookDelivery.status == DeliveryStatus.PENDING)
        .group_by(WebhookDelivery.endpoint_id)
    )
    found = {endpoint_id: Backlog(count, float(oldest)) for endpoint_id, count, oldest in rows}
    return {each: found.get(each, Backlog(0, None)) for each in endpoint_ids}


def _is_of(owner_id: str) -> ColumnElement[bool]:
    return (WebhookEndpoint.owner_id == owner_id) & WebhookEndpoint.is_one_off.is_(False)

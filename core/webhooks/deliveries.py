"""Lists of deliveries and attempts, and replays on request."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select, tuple_, update
from sqlalchemy.orm import Session

from core.db.pagination import decode_cursor, encode_cursor
from core.db.webhook_models import (
    DeliveryStatus,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from core.errors import DeliveryNotFound, EndpointDisabled
from core.webhooks import endpoints
from core.webhooks.events import wake_dispatcher
from core.webhooks.serializers import serialize_attempt, serialize_delivery


@dataclasses.dataclass(frozen=True)
class Page:
    """One page of a list, newest first. `next_cursor` is None on the last page."""

    items: list[dict[str, Any]]
    next_cursor: str | None


def list_deliveries(
    session: Session,
    owner_id: str,
    *,
    limit: int,
    cursor: str | None = None,
    endpoint_id: uuid.UUID | None = None,
    job_id: uuid.UUID | None = None,
    status: DeliveryStatus | None = None,
) -> Page:
    """Returns the owner's deliveries, newest first, including those to one-off addresses. Raises InvalidCursor."""
    conditions: list[ColumnElement[bool]] = [WebhookDelivery.owner_id == owner_id]
    if endpoint_id is not None:
        conditions.append(WebhookDelivery.endpoint_id == endpoint_id)
    if job_id is not None:
        conditions.append(WebhookEvent.job_id == job_id)
    if status is not None:
        conditions.append(WebhookDelivery.status == status)
    if cursor is not None:
        conditions.append(tuple_(WebhookDelivery.created_at, WebhookDelivery.id) < decode_cursor(cursor))
    newest = (WebhookDelivery.created_at.desc(), WebhookDelivery.id.desc())
    rows = session.execute(_with_events().where(*conditions).order_by(*newest).limit(limit + 1)).all()
    last = rows[limit - 1][0] if len(rows) > limit else None
    return Page(
        [serialize_delivery(*row) for row in rows[:limit]], encode_cursor(last.created_at, last.id) if last else None
    )


def list_attempts(
    session: Session, endpoint: WebhookEndpoint, *, limit: int, before: int | None = None, after: int | None = None
) -> Page:
    """Returns the endpoint's attempts.

    before: only attempts with a smaller id. Newest first, which is also the order without `before` and `after`.
    after: only attempts with a larger id. Oldest first.
    """
    query = _with_delivery().where(WebhookAttempt.endpoint_id == endpoint.id)
    if before is not None:
        query = query.where(WebhookAttempt.id < before)
    if after is not None:
        query = query.where(WebhookAttempt.id > after)
    order = WebhookAttempt.id.desc() if after is None else WebhookAttempt.id
    rows = session.execute(query.order_by(order).limit(limit + 1)).all()
    has_more = len(rows) > limit
    return Page([serialize_attempt(*row) for row in rows[:limit]], str(rows[limit - 1][0].id) if has_more else None)


def get_delivery(session: Session, owner_id: str, delivery_id: uuid.UUID) -> dict[str, Any]:
    """Returns the owner's delivery with its attempts and its body. Raises DeliveryNotFound."""
    row = session.execute(
        _with_events().where(WebhookDelivery.id == delivery_id, WebhookDelivery.owner_id == owner_id)
    ).one_or_none()
    if row is None:
        raise DeliveryNotFound("no such delivery; check the id")
    attempts = session.execute(
        _with_delivery().where(WebhookAttempt.delivery_id == delivery_id).order_by(WebhookAttempt.id)
    )
    return {
        **serialize_delivery(*row),
        "attempts": [serialize_attempt(*each) for each in attempts],
        "body": json.loads(row[1].body),
    }


def replay(session: Session, owner_id: str, delivery_id: uuid.UUID) -> None:
    """Restarts the delivery at the beginning of its schedule. Raises DeliveryNotFound, EndpointDisabled."""
    found = session.execute(
        select(WebhookDelivery.id, WebhookEndpoint.is_enabled)
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
        .where(WebhookDelivery.id == delivery_id, WebhookDelivery.owner_id == owner_id)
    ).one_or_none()
    if found is None:
        raise DeliveryNotFound("no such delivery; check the id")
    if not found[1]:
        raise EndpointDisabled("the endpoint is disabled; enable it first")
    _reschedule(session, [WebhookDelivery.id == delivery_id])


def replay_failed(
    session: Session, owner_id: str, endpoint_id: uuid.UUID, *, since: dt.datetime, until: dt.datetime | None
) -> int:
    """Restarts the failed deliveries created from `since` until before `until`. Returns their number.

    Raises EndpointNotFound, EndpointDisabled.
    """
    endpoint = endpoints.get(session, owner_id, endpoint_id)
    if not endpoint.is_enabled:
        raise EndpointDisabled("the endpoint is disabled; enable it first")
    conditions: list[ColumnElement[bool]] = [
        WebhookDelivery.endpoint_id == endpoint_id,
        WebhookDelivery.status == DeliveryStatus.FAILED,
        WebhookDelivery.created_at >= since,
    ]
    if until is not None:
        conditions.append(WebhookDelivery.created_at < until)
    return _reschedule(session, conditions)


def _reschedule(session: Session, conditions: Sequence[ColumnElement[bool]]) -> int:
    statement = (
        update(WebhookDelivery)
        .where(*conditions)
        .values(
            status=DeliveryStatus.PENDING,
            step=0,
            scheduled_at=func.now(),
            next_attempt_at=func.now(),
            finished_at=None,
        )
        .execution_options(synchronize_session=False)
    )
    started = session.scalars(statement.returning(WebhookDelivery.id)).all()
    wake_dispatcher(session)
    return len(started)


def _with_events() -> Select[WebhookDelivery, WebhookEvent, WebhookEndpoint]:
    return (
        select(WebhookDelivery, WebhookEvent, WebhookEndpoint)
        .join(WebhookEvent, WebhookEvent.id == WebhookDelivery.event_id)
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
    )


def _with_delivery() -> Select[WebhookAttempt, WebhookDelivery, WebhookEvent]:
    return (
        select(WebhookAttempt, WebhookDelivery, WebhookEvent)
        .join(WebhookDelivery, WebhookDelivery.id == WebhookAttempt.delivery_id)
        .join(WebhookEvent, WebhookEvent.id == WebhookDelivery.event_id)
    )

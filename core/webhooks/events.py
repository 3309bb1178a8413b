"""Creation of events, in the same transaction as the change that they announce."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, insert, or_, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from core.db.models import Job
from core.db.serializers import iso, select_jobs, serialize_job
from core.db.webhook_models import (
    EventType,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from core.net.urls import Address
from core.states import Status
from core.webhooks import secrets

CHANNEL = "enrich_webhook"
"""NOTIFY channel that wakes the dispatcher when a delivery may be due."""

MAX_BODY_BYTES = 20_000
"""Receivers and their proxies limit body sizes. A larger event contains only a summary and a link to the job."""

EVENT_TYPES = {
    Status.SUCCEEDED: EventType.JOB_SUCCEEDED,
    Status.FAILED: EventType.JOB_FAILED,
    Status.CANCELED: EventType.JOB_CANCELED,
}


def is_watched() -> ColumnElement[bool]:
    """Returns an SQL condition: whether a row of `job` has a webhook URL or its owner has an enabled endpoint.

    For the RETURNING clause of the statement that ends the job, which saves a round trip.
    """
    is_enabled_endpoint = and_(
        WebhookEndpoint.owner_id == Job.owner_id,
        WebhookEndpoint.is_enabled.is_(True),
        WebhookEndpoint.is_one_off.is_(False),
    )
    return or_(Job.webhook_url.is_not(None), exists(WebhookEndpoint.id).where(is_enabled_endpoint).correlate(Job))


def job_ended(session: Session, job_id: uuid.UUID) -> None:
    """Creates the event of a job that ended in this transaction, with a delivery for each subscribed endpoint."""
    row = session.execute(select_jobs().where(Job.id == job_id).execution_options(populate_existing=True)).one()
    job: Job = row[0]
    event_type = EVENT_TYPES[Status(job.status)]
    targets: list[tuple[uuid.UUID, str | None]] = [
        (endpoint_id, None) for endpoint_id in _subscribers(session, job.owner_id, event_type)
    ]
    if job.webhook_url is not None:
        targets.append(
            (_one_off_endpoint(session, job.owner_id, job.webhook_key_id or "", job.webhook_url), job.webhook_url)
        )
    if targets:
        moment = job.finished_at or dt.datetime.now(dt.UTC)
        body = event_body(event_type, moment, serialize_job(job, row[1], row[2]))
        record(session, job.owner_id, event_type, body, targets, job.id)


def create_test_event(session: Session, endpoint: WebhookEndpoint) -> uuid.UUID:
    """Creates a test event for this endpoint only. Returns the id of its delivery."""
    words = "This is a test. If its signature verifies, your endpoint is ready."
    body = event_body(
        EventType.ENDPOINT_TEST, dt.datetime.now(dt.UTC), {"endpoint_id": str(endpoint.id), "message": words}
    )
    return record(session, endpoint.owner_id, EventType.ENDPOINT_TEST, body, [(endpoint.id, None)])[0]


def event_body(event_type: EventType, moment: dt.datetime, data: dict[str, Any]) -> str:
    """Returns the body: `{type, timestamp, data}` as JSON. A job that is too large is cut to a summary and a link."""
    body = _dump(event_type, moment, data)
    if len(body.encode()) <= MAX_BODY_BYTES:
        return body
    kept = {key: data.get(key) for key in ("id", "status", "external_id", "created_at", "finished_at", "error")}
    return _dump(event_type, moment, {**kept, "is_cut": True, "href": f"/v1/jobs/{data['id']}"})


def _dump(event_type: EventType, moment: dt.datetime, data: dict[str, Any]) -> str:
    document = {"type": event_type, "timestamp": iso(moment), "data": data}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def record(
    session: Session,
    owner_id: str,
    event_type: EventType,
    body: str,
    targets: Sequence[tuple[uuid.UUID, str | None]],
    job_id: uuid.UUID | None = None,
) -> list[uuid.UUID]:
    """Inserts an event and its deliveries. Returns the ids of the deliveries.

    targets: (endpoint id, full URL of a one-off address or None), one for each delivery.
    """
    event_id = uuid.uuid4()
    event = {"id": event_id, "owner_id": owner_id, "type": event_type, "job_id": job_id, "body": body}
    session.execute(insert(WebhookEvent), event)
    deliveries = [
        {"id": uuid.uuid4(), "owner_id": owner_id, "event_id": event_id, "endpoint_id": endpoint_id, "url": url}
        for endpoint_id, url in targets
    ]
    session.execute(insert(WebhookDelivery), deliveries)
    wake_dispatcher(session)
    return [each["id"] for each in deliveries if isinstance(each["id"], uuid.UUID)]


def wake_dispatcher(session: Session) -> None:
    """Wakes the dispatcher when this transaction is committed."""
    session.execute(select(func.pg_notify(CHANNEL, "")))


def _subscribers(session: Session, owner_id: str, event_type: EventType) -> Iterable[uuid.UUID]:
    # Takes the same share locks as the foreign keys of the deliveries, because an endpoint may be about to be deleted.
    rows = session.execute(
        select(WebhookEndpoint.id, WebhookEndpoint.event_types)
        .where(
            WebhookEndpoint.owner_id == owner_id,
            WebhookEndpoint.is_enabled.is_(True),
            WebhookEndpoint.is_one_off.is_(False),
        )
        .order_by(WebhookEndpoint.id)
        .with_for_update(read=True, key_share=True)
    )
    return [endpoint_id for endpoint_id, wanted in rows if not wanted or event_type in wanted]


def _one_off_endpoint(session: Session, owner_id: str, key_id: str, url: str) -> uuid.UUID:
    """Returns the id of the endpoint for the URL's origin and this API key. Inserts it if it is new."""
    address = Address.parse(url)
    origin = f"{address.scheme}://{address.netloc}"
    secret_id = secrets.default_id(session, owner_id, key_id)
    known = select(WebhookEndpoint.id).where(
        WebhookEndpoint.secret_id == secret_id, WebhookEndpoint.url == origin, WebhookEndpoint.is_one_off.is_(True)
    )
    # Takes the same share lock as the foreign key of the delivery, because the dispatcher may be about to delete it.
    known = known.with_for_update(read=True, key_share=True)
    if (found := session.scalar(known)) is not None:
        return found
    row = postgresql.insert(WebhookEndpoint).values(
        id=uuid.uuid4(), owner_id=owner_id, secret_id=secret_id, is_one_off=True, url=origin, event_types=[]
    )
    session.execute(row.on_conflict_do_nothing())
    return session.scalars(known).one()

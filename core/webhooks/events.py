"""Writing events: in the transaction of what happened, so that there is never one without the other."""

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
"""NOTIFY channel on which the dispatcher is told that something is due."""

MAX_BODY_BYTES = 20_000
"""Beyond it the event only says where to read the job: receivers and their proxies have limits."""

ENDED = {
    Status.SUCCEEDED: EventType.JOB_SUCCEEDED,
    Status.FAILED: EventType.JOB_FAILED,
    Status.CANCELED: EventType.JOB_CANCELED,
}


def is_watched() -> ColumnElement[bool]:
    """Whether anybody wants to hear of a row of `job`; for the RETURNING of what ends it, which saves a round trip."""
    wants = and_(
        WebhookEndpoint.owner_id == Job.owner_id,
        WebhookEndpoint.is_enabled.is_(True),
        WebhookEndpoint.is_one_off.is_(False),
    )
    return or_(Job.webhook_url.is_not(None), exists(WebhookEndpoint.id).where(wants).correlate(Job))


def job_ended(session: Session, job_id: uuid.UUID) -> None:
    """Tells every endpoint that wants it of a job that has ended in this transaction."""
    row = session.execute(select_jobs().where(Job.id == job_id).execution_options(populate_existing=True)).one()
    job: Job = row[0]
    event_type = ENDED[Status(job.status)]
    targets: list[tuple[uuid.UUID, str | None]] = [
        (endpoint_id, None) for endpoint_id in _subscribers(session, job.owner_id, event_type)
    ]
    if job.webhook_url is not None:
        targets.append((_one_off(session, job.owner_id, job.webhook_key_id or "", job.webhook_url), job.webhook_url))
    if targets:
        moment = job.finished_at or dt.datetime.now(dt.UTC)
        body = event_body(event_type, moment, serialize_job(job, row[1], row[2]))
        record(session, job.owner_id, event_type, body, targets, job.id)


def create_test_event(session: Session, endpoint: WebhookEndpoint) -> uuid.UUID:
    """An event for this endpoint alone; answers its delivery's id."""
    words = "This is a test. If its signature verifies, your endpoint is ready."
    body = event_body(
        EventType.ENDPOINT_TEST, dt.datetime.now(dt.UTC), {"endpoint_id": str(endpoint.id), "message": words}
    )
    return record(session, endpoint.owner_id, EventType.ENDPOINT_TEST, body, [(endpoint.id, None)])[0]


def event_body(event_type: EventType, moment: dt.datetime, data: dict[str, Any]) -> str:
    """The JSON that is sent: `{type, timestamp, data}`. Too large a job is cut to what names it and a link."""
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
    """Writes the event and a delivery for each target (endpoint, full address of a one-off); answers the deliveries."""
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
    """Says, once this transaction is committed, that something may be due."""
    session.execute(select(func.pg_notify(CHANNEL, "")))


def _subscribers(session: Session, owner_id: str, event_type: EventType) -> Iterable[uuid.UUID]:
    # A share of the rows, as the deliveries' foreign keys will take: one of them may be about to be deleted.
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


def _one_off(session: Session, owner_id: str, key_id: str, url: str) -> uuid.UUID:
    """The endpoint that stands for the address's origin and the key that named it."""
    address = Address.parse(url)
    origin = f"{address.scheme}://{address.netloc}"
    secret_id = secrets.default_id(session, owner_id, key_id)
    known = select(WebhookEndpoint.id).where(
        WebhookEndpoint.secret_id == secret_id, WebhookEndpoint.url == origin, WebhookEndpoint.is_one_off.is_(True)
    )
    # A share of the row, as the delivery's foreign key will take: the dispatcher's purger may be about to delete it.
    known = known.with_for_update(read=True, key_share=True)
    if (found := session.scalar(known)) is not None:
        return found
    row = postgresql.insert(WebhookEndpoint).values(
        id=uuid.uuid4(), owner_id=owner_id, secret_id=secret_id, is_one_off=True, url=origin, event_types=[]
    )
    session.execute(row.on_conflict_do_nothing())
    return session.scalars(known).one()

"""Short ways to put endpoints and ended jobs into the record, to move the webhooks' clock, and to read the log."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import Interval, cast, func, literal, select, text, update

from core.db.engine import Sessions
from core.db.models import LOCAL_OWNER, Job
from core.db.webhook_models import (
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
    WebhookSecret,
)
from core.jobs import lifecycle
from core.states import Lane, Status
from core.webhooks import endpoints, secrets

CLOCKS: dict[type[Any], tuple[str, ...]] = {
    WebhookEndpoint: ("failing_since", "rest_until", "probe_at", "created_at"),
    WebhookDelivery: ("scheduled_at", "next_attempt_at", "claimed_until", "created_at"),
    WebhookEvent: ("created_at",),
    WebhookSecret: ("previous_until",),
}
"""Every moment that the dispatcher compares with the present."""


def advance(sessions: Sessions, **time: float) -> None:
    """Lets time pass for all webhooks, as `timedelta` takes it: moves every moment of theirs into the past."""
    step = cast(literal(dt.timedelta(**time)), Interval)
    with sessions.begin() as session:
        # In the order in which the dispatcher writes, so that none waits for the other.
        session.execute(
            text("LOCK TABLE webhook_delivery, webhook_endpoint, webhook_event, webhook_secret IN EXCLUSIVE MODE")
        )
        for table, columns in CLOCKS.items():
            session.execute(update(table).values({name: getattr(table, name) - step for name in columns}))


def new_endpoint(sessions: Sessions, url: str, *, owner_id: str = LOCAL_OWNER, **fields: Any) -> uuid.UUID:
    """A registered endpoint."""
    with sessions.begin() as session:
        return endpoints.create(session, owner_id, url=url, limit=1000, **fields).id


def secret_of(sessions: Sessions, endpoint_id: uuid.UUID) -> str:
    with sessions() as session:
        return secrets.read(session, session.get_one(WebhookEndpoint, endpoint_id).secret_id).current


def ended_job(sessions: Sessions, *, owner_id: str = LOCAL_OWNER, webhook_url: str | None = None) -> uuid.UUID:
    """A job that was canceled: the shortest way to an event."""
    job_id = uuid.uuid4()
    with sessions.begin() as session:
        session.add(
            Job(
                id=job_id,
                owner_id=owner_id,
                lane=Lane.BULK,
                status=Status.QUEUED,
                address="https://shop.example/shirt.jpg",
                webhook_url=webhook_url,
                webhook_key_id="local" if webhook_url else None,
            )
        )
        session.flush()
        assert lifecycle.cancel(session, owner_id, job_id)
    return job_id


def read_endpoint(sessions: Sessions, endpoint_id: uuid.UUID) -> WebhookEndpoint:
    with sessions() as session:
        return session.get_one(WebhookEndpoint, endpoint_id)


def statuses(sessions: Sessions, endpoint_id: uuid.UUID | None = None) -> list[str]:
    """Of all deliveries, or an endpoint's, oldest first."""
    query = select(WebhookDelivery.status).order_by(WebhookDelivery.created_at)
    with sessions() as session:
        return list(session.scalars(query if endpoint_id is None else query.filter_by(endpoint_id=endpoint_id)))


def attempts(sessions: Sessions) -> list[WebhookAttempt]:
    """All, in the order in which they were written."""
    with sessions() as session:
        return list(session.scalars(select(WebhookAttempt).order_by(WebhookAttempt.id)))


def waits_s(sessions: Sessions) -> list[float]:
    """Per pending delivery, oldest first: seconds until its next attempt may be made."""
    left = func.extract("epoch", WebhookDelivery.next_attempt_at - func.now())
    query = select(left).where(WebhookDelivery.status == "pending").order_by(WebhookDelivery.created_at)
    with sessions() as session:
        return [float(each) for each in session.scalars(query)]

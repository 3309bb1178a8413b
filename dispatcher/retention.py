"""Retention: deletes old webhook events with their deliveries and attempts, and unused one-off endpoints."""

from __future__ import annotations

import datetime as dt
import uuid

from sqlalchemy import ColumnElement, Interval, cast, delete, exists, func, literal, select
from sqlalchemy.orm import Session

from core.db.engine import Sessions
from core.db.webhook_models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from core.settings import WebhookSettings
from core.telemetry.logs import get_logger

log = get_logger(__name__)

BATCH_SIZE = 1000
"""Rows per transaction, so that no row is locked for long."""


def purge(sessions: Sessions, settings: WebhookSettings) -> None:
    """Deletes old events, and then one-off endpoints, which can be deleted only without deliveries."""
    purge_events(sessions, settings)
    purge_one_off_endpoints(sessions, settings)


def purge_events(sessions: Sessions, settings: WebhookSettings) -> int:
    """Deletes all events older than `keep_days`, including pending ones. Returns their number."""
    old = select(WebhookEvent.id).where(WebhookEvent.created_at < _kept_since(settings))
    batch = old.limit(BATCH_SIZE).with_for_update(skip_locked=True)
    deleted = 0
    while True:
        with sessions.begin() as session:
            gone = session.scalars(delete(WebhookEvent).where(WebhookEvent.id.in_(batch)).returning(WebhookEvent.id))
            count = len(gone.all())
        deleted += count
        if count < BATCH_SIZE:
            break
    if deleted:
        log.info("webhook_events_purged", events=deleted)
    return deleted


def purge_one_off_endpoints(sessions: Sessions, settings: WebhookSettings) -> int:
    """Deletes one-off endpoints without deliveries that are older than `keep_days`. Returns their number.

    Each job may have a new webhook URL, so without this the table would grow without limit.
    """
    deleted = 0
    while True:
        with sessions.begin() as session:
            found = _lock_unused(session, settings)
            # Checked again under the lock, because a delivery may have been inserted in between. From here on none can
            # be: that needs a share lock on the endpoint (`_one_off_endpoint` in core/webhooks/events.py).
            unused = select(WebhookEndpoint.id).where(WebhookEndpoint.id.in_(found), _has_no_delivery())
            gone = session.scalars(
                delete(WebhookEndpoint).where(WebhookEndpoint.id.in_(unused)).returning(WebhookEndpoint.id)
            )
            deleted += len(gone.all())
        if len(found) < BATCH_SIZE:
            break
    if deleted:
        log.info("one_off_endpoints_purged", endpoints=deleted)
    return deleted


def _lock_unused(session: Session, settings: WebhookSettings) -> list[uuid.UUID]:
    old = WebhookEndpoint.is_one_off.is_(True) & (WebhookEndpoint.created_at < _kept_since(settings))
    unused = select(WebhookEndpoint.id).where(old, _has_no_delivery()).order_by(WebhookEndpoint.id).limit(BATCH_SIZE)
    return list(session.scalars(unused.with_for_update(skip_locked=True)))


def _has_no_delivery() -> ColumnElement[bool]:
    return ~exists().where(WebhookDelivery.endpoint_id == WebhookEndpoint.id)


def _kept_since(settings: WebhookSettings) -> ColumnElement[dt.datetime]:
    return func.now() - cast(literal(dt.timedelta(days=settings.keep_days)), Interval)

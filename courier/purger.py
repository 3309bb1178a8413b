"""Deletes what has been kept long enough: webhook events, with their deliveries and the log of their attempts."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import Interval, cast, delete, func, literal, select

from jobs.database import Sessions
from jobs.logs import get_logger
from jobs.settings import WebhookSettings
from jobs.webhooks.tables import WebhookEvent

log = get_logger(__name__)

BATCH_SIZE = 1000
"""Events per transaction, so that no row is held for long."""


def purge_events(sessions: Sessions, settings: WebhookSettings) -> int:
    """Deletes all events older than `keep_days`, waiting ones too; answers how many."""
    age = cast(literal(dt.timedelta(days=settings.keep_days)), Interval)
    old = select(WebhookEvent.id).where(WebhookEvent.created_at < func.now() - age)
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

"""What has been kept long enough is deleted, with all that hangs on it; what is younger stays."""

from __future__ import annotations

from sqlalchemy import func, select

from courier.purger import purge_events
from jobs.database import Sessions
from jobs.settings import Settings
from jobs.webhooks.tables import WebhookDelivery, WebhookEndpoint, WebhookEvent
from tests.webhook_records import advance, ended_job, new_endpoint


def test_old_events_go_with_their_deliveries_and_endpoints_stay(settings: Settings, sessions: Sessions) -> None:
    new_endpoint(sessions, "https://shop.example/hook")
    for _ in range(3):
        ended_job(sessions)
    advance(sessions, days=settings.webhooks.keep_days + 1)
    ended_job(sessions)
    assert purge_events(sessions, settings.webhooks) == 3
    assert purge_events(sessions, settings.webhooks) == 0
    with sessions() as session:
        left = [
            session.scalar(select(func.count()).select_from(table))
            for table in (WebhookEvent, WebhookDelivery, WebhookEndpoint)
        ]
    assert left == [1, 1, 1]

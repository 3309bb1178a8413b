"""What has been kept long enough is deleted, with all that hangs on it; what is younger stays."""

from __future__ import annotations

from sqlalchemy import func, select

from core.db.engine import Sessions
from core.db.webhook_models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from core.settings import Settings
from dispatcher.retention import purge, purge_events, purge_one_off_endpoints
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


def test_a_jobs_own_address_goes_when_nothing_is_on_its_way_to_it(settings: Settings, sessions: Sessions) -> None:
    registered = new_endpoint(sessions, "https://shop.example/hook")
    ended_job(sessions, webhook_url="https://old.example/once")
    advance(sessions, days=settings.webhooks.keep_days + 1)
    assert purge_one_off_endpoints(sessions, settings.webhooks) == 0, "its event is still there"
    ended_job(sessions, webhook_url="https://new.example/once")
    purge(sessions, settings.webhooks)
    with sessions() as session:
        left = set(session.scalars(select(WebhookEndpoint.url)))
    assert left == {"https://shop.example/hook", "https://new.example"}
    ended_job(sessions, webhook_url="https://old.example/once")
    with sessions() as session:
        assert session.get(WebhookEndpoint, registered) is not None
        assert "https://old.example" in set(session.scalars(select(WebhookEndpoint.url)))


def test_an_address_in_use_is_not_purged_under_a_job_that_ends(settings: Settings, sessions: Sessions) -> None:
    """A job that ends has taken the row for its delivery: deleting expired jobs leaves it alone."""
    ended_job(sessions, webhook_url="https://shop.example/once")
    advance(sessions, days=settings.webhooks.keep_days + 1)
    purge_events(sessions, settings.webhooks)
    with sessions.begin() as ending:
        ending.execute(select(WebhookEndpoint).with_for_update(read=True, key_share=True))
        assert purge_one_off_endpoints(sessions, settings.webhooks) == 0
    assert purge_one_off_endpoints(sessions, settings.webhooks) == 1

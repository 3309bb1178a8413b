"""Services that the routes use: database, queue, storage and so on, one set per application."""

from __future__ import annotations

import dataclasses
from typing import cast

from flask import Flask, current_app
from sqlalchemy import Engine

from api.long_poll import LongPoll
from api.middleware.rate_limit import RateLimit
from api.pool import CircuitBreakerPool
from core.db.engine import (
    Sessions,
    direct_url,
    make_engine,
    make_sessions,
)
from core.jobs.queue import Publisher
from core.jobs.quota import QueuedQuota
from core.net.ssrf_guard import Guard
from core.settings import Settings
from core.storage.uploads import Storage, open_storage
from core.telemetry.metrics import ApiMetrics

EXTENSION = "enrich"


@dataclasses.dataclass(frozen=True)
class Services:
    """The application's connections to other services."""

    settings: Settings
    engine: Engine
    sessions: Sessions
    publisher: Publisher
    storage: Storage
    long_poll: LongPoll
    rate_limit: RateLimit
    quota: QueuedQuota
    guard: Guard
    metrics: ApiMetrics

    def close(self) -> None:
        """Ends all long polls and closes all connections."""
        self.long_poll.close()
        self.publisher.close()
        self.rate_limit.close()
        self.engine.dispose()


def open_services(settings: Settings) -> Services:
    """Creates all services. Each one connects on first use, which is after gunicorn's fork."""
    engine = make_engine(settings, answer_timeout_s=settings.api.record_timeout_s, pool=CircuitBreakerPool)
    sessions = make_sessions(engine)
    metrics = ApiMetrics()
    # At most half of the threads may wait, so that the other half stays free for new requests.
    long_poll = LongPoll(direct_url(settings), capacity=max(1, settings.api.threads // 2))
    metrics.waiting_requests.set_function(long_poll.count)
    return Services(
        settings=settings,
        engine=engine,
        sessions=sessions,
        publisher=Publisher(settings, on_failure=metrics.publish_failed.inc),
        storage=open_storage(settings),
        long_poll=long_poll,
        rate_limit=RateLimit(settings),
        quota=QueuedQuota(sessions, settings.api.max_queued_jobs),
        guard=Guard(settings.fetch),
        metrics=metrics,
    )


def services_of(app: Flask) -> Services:
    """Returns the services of an application."""
    return cast(Services, app.extensions[EXTENSION])


def services() -> Services:
    """Returns the services of the current request's application."""
    return services_of(current_app)

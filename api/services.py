"""What the routes work with: one set per application, kept in `app.extensions`."""

from __future__ import annotations

import dataclasses
from typing import cast

from flask import Flask, current_app
from sqlalchemy import Engine

from api.long_poll import Waiting
from api.middleware.rate_limit import RateLimit
from api.pool import WaryPool
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
class Resources:
    """The application's connections to the outside."""

    settings: Settings
    engine: Engine
    sessions: Sessions
    publisher: Publisher
    storage: Storage
    waiting: Waiting
    rate_limit: RateLimit
    quota: QueuedQuota
    guard: Guard
    metrics: ApiMetrics

    def close(self) -> None:
        """Ends the waits and gives all connections back."""
        self.waiting.close()
        self.publisher.close()
        self.rate_limit.close()
        self.engine.dispose()


def open_resources(settings: Settings) -> Resources:
    """Makes the set. Nothing is connected yet: each part connects when it is first used, after gunicorn's fork."""
    engine = make_engine(settings, answer_within_s=settings.api.record_timeout_s, pool=WaryPool)
    sessions = make_sessions(engine)
    metrics = ApiMetrics()
    # At most half of the threads wait, so that the other half always answers.
    waiting = Waiting(direct_url(settings), capacity=max(1, settings.api.threads // 2))
    metrics.waiting_requests.set_function(waiting.count)
    return Resources(
        settings=settings,
        engine=engine,
        sessions=sessions,
        publisher=Publisher(settings, on_failure=metrics.publish_failed.inc),
        storage=open_storage(settings),
        waiting=waiting,
        rate_limit=RateLimit(settings),
        quota=QueuedQuota(sessions, settings.api.max_queued_jobs),
        guard=Guard(settings.fetch),
        metrics=metrics,
    )


def resources_of(app: Flask) -> Resources:
    """The resources of one application."""
    return cast(Resources, app.extensions[EXTENSION])


def resources() -> Resources:
    """The resources of the application that serves the current request."""
    return resources_of(current_app)

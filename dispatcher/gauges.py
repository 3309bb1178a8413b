"""Gauges of the queue and the database, which each dispatcher refreshes every few seconds.

Values that cannot be read are NaN instead of stale: those from Redis while Redis is down, those from Postgres while
Postgres is down, and all of them if a refresh hangs. Every statement is bounded: a backlog of a million rows takes a
few tenths of a second, and `STATEMENT_TIMEOUT_MS` limits each statement.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from prometheus_client import Gauge
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.db.engine import Sessions
from core.db.errors import STATEMENT_FAILED
from core.jobs.queue import Publisher, QueueUnavailable
from core.states import Lane
from core.telemetry.logs import get_logger
from core.telemetry.metrics import (
    ENDPOINT_STATES,
    LANES,
    WAITING_STATUSES,
    DispatcherMetrics,
)

log = get_logger(__name__)

REFRESH_EVERY_S = 5.0
STALE_AFTER_S = 4 * REFRESH_EVERY_S
STATEMENT_TIMEOUT_MS = 2000
MOST_COUNTED = 1_000_000

Key = tuple[str, ...]
Values = dict[Key, float]

# The first entry of `ix_job_waiting` in each lane. Jobs that wait for a retry have the future time of that retry, so
# they come after all jobs that are due.
_OLDEST = text("""
    SELECT lane, coalesce(extract(epoch FROM now() - (
        SELECT j.queued_at FROM job j WHERE j.lane = lanes.lane AND j.status = 'queued'
        ORDER BY j.queued_at LIMIT 1)), 0)
    FROM unnest(CAST(:lanes AS text[])) AS lanes (lane)
""")

# Entries of `ix_job_queued`, which contains only queued jobs, up to the limit.
_QUEUED = text("""
    SELECT lane, (SELECT count(*) FROM (
        SELECT FROM job j WHERE j.lane = lanes.lane AND j.status = 'queued' LIMIT :most) counted)
    FROM unnest(CAST(:lanes AS text[])) AS lanes (lane)
""")

# All entries of `ix_job_leased`, at most as many as the workers' threads.
_PROCESSING = text("SELECT lane, count(*) FROM job WHERE status = 'processing' GROUP BY lane")

# Entries of `ix_webhook_delivery_pending`, up to the limit.
_PENDING = text("""
    SELECT count(*) FROM (SELECT FROM webhook_delivery WHERE status = 'pending' LIMIT :most) counted
""")

# The loose index scan of dispatcher/webhooks/delivery_queue.py: one look-up per endpoint with pending deliveries, for
# its oldest delivery that no dispatcher has claimed. An endpoint has only a few claimed deliveries.
_LAG = text("""
    WITH RECURSIVE waiting AS (
        (SELECT endpoint_id FROM webhook_delivery WHERE status = 'pending' ORDER BY endpoint_id LIMIT 1)
        UNION ALL
        SELECT (SELECT d.endpoint_id FROM webhook_delivery d
                WHERE d.status = 'pending' AND d.endpoint_id > w.endpoint_id ORDER BY d.endpoint_id LIMIT 1)
        FROM waiting w WHERE w.endpoint_id IS NOT NULL
    )
    SELECT coalesce(extract(epoch FROM now() - min(oldest.due_at)), 0)
    FROM waiting w JOIN webhook_endpoint e ON e.id = w.endpoint_id
    CROSS JOIN LATERAL (
        SELECT d.next_attempt_at AS due_at FROM webhook_delivery d
        WHERE d.endpoint_id = e.id AND d.status = 'pending' AND d.next_attempt_at <= now()
          AND (d.claimed_until IS NULL OR d.claimed_until <= now())
        ORDER BY d.next_attempt_at LIMIT 1
    ) oldest
    WHERE e.is_enabled AND e.failing_since IS NULL
""")

# Reads the whole table, which is small: an owner has at most `max_endpoints` endpoints, and each API key one one-off
# endpoint per origin.
_ENDPOINTS = text("""
    SELECT CASE WHEN NOT is_enabled THEN 'disabled' WHEN failing_since IS NULL THEN 'well' ELSE 'failing' END, count(*)
    FROM webhook_endpoint WHERE NOT is_one_off GROUP BY 1
""")


class StateGauges:
    """Serves the values of the last refresh, or NaN if it is stale. Thread-safe.

    Call `refresh` every `REFRESH_EVERY_S`.
    """

    def __init__(
        self,
        metrics: DispatcherMetrics,
        sessions: Sessions,
        publisher: Publisher,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions = sessions
        self._publisher = publisher
        self._clock = clock
        # Each part is replaced as a whole, so that a scrape never sees a partial refresh.
        self._parts: dict[str, tuple[float, Mapping[Key, float]]] = {}
        self._was_healthy = True
        self._register(metrics)

    def refresh(self) -> None:
        """Reads the values from Redis and Postgres. Does not raise if a server is unavailable."""
        errors = [self._refresh("queue", self._read_queue), self._refresh("database", self._read_database)]
        why = "; ".join(filter(None, errors))
        if bool(why) == self._was_healthy:
            log.warning("gauges_failed" if why else "gauges_recovered", why=why)
        self._was_healthy = not why

    def _refresh(self, part: str, read: Callable[[], Values]) -> str:
        """Returns the error message, or an empty string."""
        try:
            self._parts[part] = (self._clock(), read())
        except (*STATEMENT_FAILED, QueueUnavailable) as error:
            self._parts[part] = (self._clock(), {})
            return str(error)
        return ""

    def _read_queue(self) -> Values:
        values: Values = {}
        for lane in Lane:
            values["depth", lane.value] = self._publisher.inspect(lane).length
            values["in_flight", lane.value] = self._publisher.count_in_flight(lane)
        return values

    def _read_database(self) -> Values:
        with self._sessions.begin() as session:
            session.execute(text(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MS}"))
            return {**_read_jobs(session), **_read_webhooks(session)}

    def _value(self, part: str, key: Key) -> float:
        read_at, values = self._parts.get(part, (-math.inf, {}))
        is_fresh = self._clock() - read_at < STALE_AFTER_S
        return values.get(key, math.nan) if is_fresh else math.nan

    def _register(self, metrics: DispatcherMetrics) -> None:
        for lane in LANES:
            self._set(metrics.queue_depth.labels(lane), "queue", ("depth", lane))
            self._set(metrics.queue_in_flight.labels(lane), "queue", ("in_flight", lane))
            self._set(metrics.queue_oldest_seconds.labels(lane), "database", ("oldest", lane))
            for status in WAITING_STATUSES:
                self._set(metrics.jobs.labels(lane, status), "database", ("jobs", lane, status))
        for state in ENDPOINT_STATES:
            self._set(metrics.webhook_endpoints.labels(state), "database", ("endpoints", state))
        self._set(metrics.webhook_pending, "database", ("pending",))
        self._set(metrics.webhook_lag_seconds, "database", ("lag",))

    def _set(self, gauge: Gauge, part: str, key: Key) -> None:
        gauge.set_function(lambda: self._value(part, key))


def _read_jobs(session: Session) -> Values:
    values: Values = {("jobs", lane, "processing"): 0 for lane in LANES}
    lanes = {"lanes": list(LANES)}
    for lane, seconds in session.execute(_OLDEST, lanes):
        values["oldest", lane] = max(0.0, float(seconds))
    for lane, count in session.execute(_QUEUED, {**lanes, "most": MOST_COUNTED}):
        values["jobs", lane, "queued"] = count
    for lane, count in session.execute(_PROCESSING):
        values["jobs", lane, "processing"] = count
    return values


def _read_webhooks(session: Session) -> Values:
    values: Values = {("endpoints", state): 0 for state in ENDPOINT_STATES}
    for state, count in session.execute(_ENDPOINTS):
        values["endpoints", state] = count
    values["pending",] = session.execute(_PENDING, {"most": MOST_COUNTED}).scalar_one()
    values["lag",] = float(session.execute(_LAG).scalar_one())
    return values

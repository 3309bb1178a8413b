"""The queue of deliveries in Postgres: finds endpoints with due deliveries, and claims deliveries. Uses only Postgres's
clock.

The health of an endpoint decides which deliveries are attempted:

    healthy   all due deliveries, within the concurrency limit (dispatcher/webhooks/concurrency.py)
    failing   after `rest_after_failures` consecutive failures: only the oldest pending one, then a pause that doubles
    probed    failing and nothing is due: the oldest pending one, at least every `probe_every_s`

The first success makes all pending deliveries of the endpoint due. An attempt before its scheduled time, by a probe or
after a recovery, does not advance the delivery's schedule.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.orm import Session

from core.db.webhook_models import Trigger


@dataclasses.dataclass(frozen=True)
class ReadyEndpoint:
    """An endpoint that may be attempted now.

    is_failing: only one attempt at a time is allowed.
    has_due: False if the attempt is a probe.
    """

    endpoint_id: uuid.UUID
    is_failing: bool
    has_due: bool
    max_rate_per_s: int | None


@dataclasses.dataclass(frozen=True)
class ClaimRequest:
    """The number of deliveries to claim for an endpoint. A probe claims the oldest pending ones, even if not due."""

    endpoint_id: uuid.UUID
    count: int
    is_probe: bool


@dataclasses.dataclass(frozen=True)
class ClaimedDelivery:
    """A delivery that this process has claimed.

    secrets: all valid secrets.
    is_early: whether the attempt comes before its scheduled time.
    job_id, request_id, traceparent: those of the event's job, if it has one.
    """

    id: uuid.UUID
    endpoint_id: uuid.UUID
    owner_id: str
    event_id: uuid.UUID
    url: str
    body: str
    secrets: tuple[str, ...]
    step: int
    is_early: bool
    is_one_off: bool
    trigger: Trigger
    job_id: uuid.UUID | None = None
    request_id: str | None = None
    traceparent: str | None = None


# A loose index scan. Before version 18, Postgres would read every pending row to find their few endpoints.
_READY = text("""
    WITH RECURSIVE waiting AS (
        (SELECT endpoint_id FROM webhook_delivery WHERE status = 'pending' ORDER BY endpoint_id LIMIT 1)
        UNION ALL
        SELECT (SELECT d.endpoint_id FROM webhook_delivery d
                WHERE d.status = 'pending' AND d.endpoint_id > w.endpoint_id ORDER BY d.endpoint_id LIMIT 1)
        FROM waiting w WHERE w.endpoint_id IS NOT NULL
    ), asked AS (
        SELECT e.id, e.failures >= :rest_after AS is_failing, e.max_rate_per_s, e.probe_at, e.rest_until,
               EXISTS (SELECT FROM webhook_delivery d WHERE d.endpoint_id = e.id AND d.status = 'pending'
                       AND d.next_attempt_at <= now()
                       AND (d.claimed_until IS NULL OR d.claimed_until <= now())) AS has_due
        FROM waiting w JOIN webhook_endpoint e ON e.id = w.endpoint_id
        WHERE e.is_enabled
    )
    SELECT id, is_failing, has_due, max_rate_per_s FROM asked
    WHERE (rest_until IS NULL OR rest_until <= now()) AND (has_due OR probe_at <= now())
""")

# Columns of the job come from subqueries instead of a join, because the planner may overestimate `picked` and then scan
# the whole table of jobs.
_CLAIM = """
    WITH picked AS (
        SELECT d.id FROM unnest(CAST(:ids AS uuid[]), CAST(:counts AS int[])) AS request (endpoint_id, count)
        CROSS JOIN LATERAL (
            SELECT id FROM webhook_delivery
            WHERE endpoint_id = request.endpoint_id AND status = 'pending'
              AND (claimed_until IS NULL OR claimed_until <= now()) {condition}
            ORDER BY {order} LIMIT request.count FOR UPDATE SKIP LOCKED
        ) d
    )
    UPDATE webhook_delivery d SET claimed_until = now() + make_interval(secs => :lease_s)
    FROM picked p, webhook_event v, webhook_endpoint e, webhook_secret s
    WHERE d.id = p.id AND v.id = d.event_id AND e.id = d.endpoint_id AND s.id = e.secret_id
    RETURNING d.id, d.endpoint_id, d.owner_id, d.event_id, coalesce(d.url, e.url), v.body, s.current,
              CASE WHEN s.previous_until > now() THEN s.previous END, d.step, d.scheduled_at > now(), e.is_one_off,
              v.job_id, (SELECT request_id FROM job WHERE id = v.job_id),
              (SELECT traceparent FROM job WHERE id = v.job_id)
"""
_CLAIM_DUE = text(_CLAIM.format(condition="AND next_attempt_at <= now()", order="next_attempt_at"))
_CLAIM_OLDEST = text(_CLAIM.format(condition="", order="created_at"))


def find_ready_endpoints(session: Session, rest_after: int) -> list[ReadyEndpoint]:
    """Returns the endpoints that may be attempted now, in no particular order."""
    return [ReadyEndpoint(*row) for row in session.execute(_READY, {"rest_after": rest_after})]


def claim(session: Session, requests: Sequence[ClaimRequest], lease_s: float) -> list[ClaimedDelivery]:
    """Claims deliveries for `lease_s` seconds. Skips those that another dispatcher has claimed."""
    due = [request for request in requests if not request.is_probe]
    probes = [request for request in requests if request.is_probe]
    return [
        *_claim(session, due, lease_s, Trigger.SCHEDULE),
        *_claim(session, probes, lease_s, Trigger.PROBE),
    ]


def _claim(
    session: Session, requests: Sequence[ClaimRequest], lease_s: float, trigger: Trigger
) -> list[ClaimedDelivery]:
    if not requests:
        return []
    values = {
        "ids": [request.endpoint_id for request in requests],
        "counts": [request.count for request in requests],
        "lease_s": lease_s,
    }
    rows = session.execute(_CLAIM_DUE if trigger is Trigger.SCHEDULE else _CLAIM_OLDEST, values)
    return [
        ClaimedDelivery(
            id=row[0],
            endpoint_id=row[1],
            owner_id=row[2],
            event_id=row[3],
            url=row[4],
            body=row[5],
            secrets=tuple(filter(None, (row[6], row[7]))),
            step=row[8],
            is_early=row[9],
            is_one_off=row[10],
            trigger=trigger,
            job_id=row[11],
            request_id=row[12],
            traceparent=row[13],
        )
        for row in rows
    ]


def release(session: Session, deliveries: Sequence[ClaimedDelivery]) -> None:
    """Releases claimed deliveries that were not attempted."""
    session.execute(
        text("UPDATE webhook_delivery SET claimed_until = NULL WHERE id = ANY(CAST(:ids AS uuid[]))"),
        {"ids": [each.id for each in deliveries]},
    )


@dataclasses.dataclass(frozen=True)
class Attempt:
    """The outcome of one attempt.

    error: an error code, if there was no response.
    answer: an excerpt of the response body.
    retry_after_s: the delay that the response asked for.
    """

    delivery: ClaimedDelivery
    started_at: dt.datetime
    latency_ms: float
    status_code: int | None = None
    error: str | None = None
    answer: str | None = None
    retry_after_s: float | None = None

    @property
    def is_success(self) -> bool:
        return self.status_code is not None and 200 <= self.status_code < 300

    @property
    def is_gone(self) -> bool:
        return self.status_code == 410

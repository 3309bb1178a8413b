"""Records the outcomes of attempts: the attempt log, the next step of each delivery, and the health of endpoints.

See dispatcher/webhooks/delivery_queue.py.
"""

from __future__ import annotations

import random
import uuid
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from core.db.webhook_models import DisabledReason, WebhookAttempt, WebhookDelivery
from core.settings import WebhookSettings
from core.telemetry.logs import get_logger
from core.webhooks.endpoints import release_pending
from dispatcher.webhooks.delivery_queue import Attempt

log = get_logger(__name__)

_DELIVERED = text("""
    UPDATE webhook_delivery
    SET status = 'delivered', finished_at = now(), tries = tries + 1, claimed_until = NULL
    WHERE id = ANY(CAST(:ids AS uuid[])) AND status = 'pending'
""")

# `greatest` ignores NULL: if `wait_s` is NULL, the delivery keeps its time.
_FAILED_ATTEMPT = text("""
    UPDATE webhook_delivery d
    SET status = CASE WHEN f.has_failed THEN 'failed' ELSE 'pending' END,
        finished_at = CASE WHEN f.has_failed THEN now() END,
        step = f.step,
        tries = d.tries + 1,
        claimed_until = NULL,
        scheduled_at = greatest(d.scheduled_at, now() + make_interval(secs => f.wait_s)),
        next_attempt_at = greatest(d.scheduled_at, now() + make_interval(secs => f.wait_s))
    FROM unnest(CAST(:ids AS uuid[]), CAST(:steps AS int[]), CAST(:waits AS float8[]), CAST(:failed AS bool[]))
         AS f (id, step, wait_s, has_failed)
    WHERE d.id = f.id AND d.status = 'pending'
""")

_RECOVERED = text("""
    UPDATE webhook_endpoint SET failures = 0, failing_since = NULL, rest_until = NULL, probe_at = NULL
    WHERE id = ANY(CAST(:ids AS uuid[])) AND failing_since IS NOT NULL
    RETURNING id
""")

_FAILING = text("""
    UPDATE webhook_endpoint e
    SET failures = e.failures + f.count,
        failing_since = coalesce(e.failing_since, now()),
        rest_until = now() + make_interval(secs => greatest(f.retry_after_s,
            CASE WHEN e.failures + f.count >= :rest_after
            THEN least(:rest_base_s * power(2, least(e.failures + f.count - :rest_after, 30)), :probe_every_s)
            ELSE 0 END)),
        probe_at = now() + make_interval(secs => greatest(f.retry_after_s, :probe_every_s))
    FROM unnest(CAST(:ids AS uuid[]), CAST(:counts AS int[]), CAST(:retry_afters AS float8[]))
         AS f (id, count, retry_after_s)
    WHERE e.id = f.id
""")

_DISABLE = text("""
    UPDATE webhook_endpoint SET is_enabled = false, disabled_at = now(),
        disabled_reason = CASE WHEN id = ANY(CAST(:gone AS uuid[])) THEN :by_gone ELSE :by_failing END
    WHERE is_enabled AND NOT is_one_off AND id = ANY(CAST(:ids AS uuid[]))
      AND (id = ANY(CAST(:gone AS uuid[])) OR failing_since <= now() - make_interval(secs => :disable_after_s))
    RETURNING id, disabled_reason
""")


def record_outcomes(session: Session, attempts: Sequence[Attempt], settings: WebhookSettings) -> None:
    """Records the outcomes of these attempts, given in the order in which they ended. The caller commits.

    Skips deliveries that were deleted in the meantime.
    """
    attempts = _without_deleted(session, attempts)
    if not attempts:
        return
    session.execute(insert(WebhookAttempt), [_log_row(attempt) for attempt in attempts])
    delivered = [attempt.delivery.id for attempt in attempts if attempt.is_success]
    if delivered:
        session.execute(_DELIVERED, {"ids": sorted(delivered)})
    failed = [attempt for attempt in attempts if not attempt.is_success]
    if failed:
        _reschedule_or_fail(session, failed, settings)
    _update_endpoints(session, attempts, settings)


def _without_deleted(session: Session, attempts: Sequence[Attempt]) -> list[Attempt]:
    ids = {attempt.delivery.id for attempt in attempts}
    # Takes the same share locks as the foreign key of the attempt log.
    found = select(WebhookDelivery.id).where(WebhookDelivery.id.in_(ids)).order_by(WebhookDelivery.id)
    left = set(session.scalars(found.with_for_update(read=True, key_share=True)))
    return [attempt for attempt in attempts if attempt.delivery.id in left]


def _log_row(attempt: Attempt) -> dict[str, Any]:
    return {
        "owner_id": attempt.delivery.owner_id,
        "endpoint_id": attempt.delivery.endpoint_id,
        "delivery_id": attempt.delivery.id,
        "trigger": attempt.delivery.trigger,
        "status_code": attempt.status_code,
        "error": attempt.error,
        "answer": attempt.answer,
        "latency_ms": attempt.latency_ms,
        "started_at": attempt.started_at,
    }


def _reschedule_or_fail(session: Session, attempts: Sequence[Attempt], settings: WebhookSettings) -> None:
    rows = [_next_step(attempt, settings) for attempt in sorted(attempts, key=lambda each: each.delivery.id)]
    ids, steps, waits, failed = zip(*rows, strict=True)
    session.execute(
        _FAILED_ATTEMPT, {"ids": list(ids), "steps": list(steps), "waits": list(waits), "failed": list(failed)}
    )


def _next_step(attempt: Attempt, settings: WebhookSettings) -> tuple[uuid.UUID, int, float | None, bool]:
    """Returns (delivery id, new step, delay in seconds or None to keep its time, whether the delivery has failed)."""
    delivery = attempt.delivery
    if attempt.is_gone and delivery.is_one_off:
        return delivery.id, delivery.step, None, True  # a one-off address cannot be enabled again
    if delivery.is_early:
        return delivery.id, delivery.step, attempt.retry_after_s, False
    step = delivery.step + 1
    if step >= len(settings.schedule_s):
        return delivery.id, step, None, True
    wait_s = settings.schedule_s[step] * random.uniform(1 - settings.jitter, 1 + settings.jitter)  # noqa: S311
    return delivery.id, step, max(wait_s, attempt.retry_after_s or 0), False


def _update_endpoints(session: Session, attempts: Sequence[Attempt], settings: WebhookSettings) -> None:
    by_endpoint: defaultdict[uuid.UUID, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        by_endpoint[attempt.delivery.endpoint_id].append(attempt)
    recovered = sorted(each for each, made in by_endpoint.items() if any(attempt.is_success for attempt in made))
    if recovered:
        # Failures after the last success are counted below. Pending deliveries are released in either case.
        released = session.scalars(_RECOVERED, {"ids": recovered}).all()
        if released:
            log.info("webhook_endpoints_recovered", endpoint_ids=[str(each) for each in released])
            release_pending(session, released)
    failures = {each: _trailing_failures(made) for each, made in sorted(by_endpoint.items())}
    failing = {each: made for each, made in failures.items() if made}
    if failing:
        _record_failures(session, failing, settings)


def _trailing_failures(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Returns the failed attempts since the last success."""
    failed: list[Attempt] = []
    for attempt in attempts:
        failed = [] if attempt.is_success else [*failed, attempt]
    return failed


def _record_failures(session: Session, failing: dict[uuid.UUID, list[Attempt]], settings: WebhookSettings) -> None:
    ids = list(failing)
    values = {
        "ids": ids,
        "counts": [len(attempts) for attempts in failing.values()],
        "retry_afters": [max(each.retry_after_s or 0.0 for each in attempts) for attempts in failing.values()],
        "rest_after": settings.rest_after_failures,
        "rest_base_s": settings.rest_base_s,
        "probe_every_s": settings.probe_every_s,
    }
    session.execute(_FAILING, values)
    limits = {
        "ids": ids,
        "gone": [each for each, attempts in failing.items() if any(attempt.is_gone for attempt in attempts)],
        "by_gone": DisabledReason.GONE,
        "by_failing": DisabledReason.FAILING,
        "disable_after_s": settings.disable_after_s,
    }
    for endpoint_id, reason in session.execute(_DISABLE, limits):
        log.warning("webhook_endpoint_disabled", endpoint_id=str(endpoint_id), reason=reason)

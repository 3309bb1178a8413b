"""The loop that delivers: one thread claims and settles in batches, a pool of others makes the attempts."""

from __future__ import annotations

import datetime as dt
import queue
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

from opentelemetry.trace import SpanKind
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.db.engine import Sessions
from core.settings import WebhookSettings
from core.telemetry.heartbeat import Heartbeat
from core.telemetry.logs import get_logger, log_context
from core.telemetry.metrics import DispatcherMetrics
from core.telemetry.tracing import Attributes, add_attributes, span
from core.webhooks.serializers import event_id
from dispatcher.liveness import Liveness
from dispatcher.webhooks.concurrency import ConcurrencyLimiter
from dispatcher.webhooks.delivery_queue import (
    Attempt,
    ClaimedDelivery,
    claim,
    find_ready_endpoints,
    release,
)
from dispatcher.webhooks.outcomes import record_outcomes
from dispatcher.webhooks.sender import Sender

log = get_logger(__name__)

POLL_S = 1.0
"""How often is looked for what has come due. New events come by NOTIFY, at once."""

HELD_BACK_S = 0.05
"""How soon to look again when an endpoint's rate or our own room held something back."""

LEASE_MARGIN_S = 15.0


class DeliveryLoop:
    """Call `run`. What it has claimed and not settled when it dies is attempted again, under the same event id."""

    def __init__(
        self,
        settings: WebhookSettings,
        sessions: Sessions,
        sender: Sender,
        metrics: DispatcherMetrics | None = None,
        liveness: Liveness | None = None,
    ) -> None:
        self._metrics = metrics or DispatcherMetrics()
        self._pulse = liveness or Liveness(Heartbeat(None))
        self._settings = settings
        self._sessions = sessions
        self._sender = sender
        self._limiter = ConcurrencyLimiter(settings)
        # What wakes the loop: an attempt that has ended, or None for news.
        self._inbox: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._unrecorded: list[Attempt] = []
        self._in_flight: dict[Future[None], ClaimedDelivery] = {}
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="webhook")
        self._was_healthy = True

    def wake(self) -> None:
        """Something may be due. For any thread."""
        self._inbox.put(None)

    def run(self, stopping: threading.Event) -> None:
        """Delivers until `stopping` is set, then lets the attempts under way end, for `grace_s` at most."""
        wait_s = 0.0
        while not stopping.is_set():
            self._collect(wait_s)
            with self._pulse.round("deliverer"):
                wait_s = self._round()
        self._finish()

    def _round(self) -> float:
        """Settles what has ended, claims and starts what may be; answers how long to wait at most."""
        try:
            self._record_outcomes()
            is_held_back = self._start()
            self._tell(is_healthy=True)
        except (DBAPIError, PoolTimeout, TimeoutError) as error:
            self._tell(is_healthy=False, why=str(error))
            return POLL_S
        return HELD_BACK_S if is_held_back else POLL_S

    def _collect(self, wait_s: float) -> None:
        """Takes what has ended; waits at most `wait_s` for the first of it, or for news."""
        try:
            self._take(self._inbox.get(timeout=wait_s) if wait_s else self._inbox.get_nowait())
            while True:
                self._take(self._inbox.get_nowait())
        except queue.Empty:
            return

    def _take(self, ended: Attempt | None) -> None:
        if ended is not None:
            self._limiter.ended(ended)
            self._metrics.webhook_attempts.labels("delivered" if ended.is_success else "failed").inc()
            self._metrics.webhook_attempt_seconds.observe(ended.latency_ms / 1000)
            self._unrecorded.append(ended)

    def _record_outcomes(self) -> None:
        if self._unrecorded:
            with self._sessions.begin() as session:
                record_outcomes(session, self._unrecorded, self._settings)
            self._unrecorded = []
        self._limiter.forget_idle()

    def _start(self) -> bool:
        """Claims and starts; whether an endpoint has more than it may be asked now."""
        # Two for each thread: while we are busy with the record, the threads have something to go on with.
        room = 2 * self._settings.threads - self._limiter.in_flight
        with self._sessions.begin() as session:
            waiting = find_ready_endpoints(session, self._settings.rest_after_failures)
            takes = self._limiter.plan(waiting, room)
            # What is claimed may wait for a thread behind two that hang, then take its own time.
            due = claim(session, takes, 3 * self._settings.timeout_s + LEASE_MARGIN_S)
        for each in due:
            self._limiter.started(each)
            future = self._pool.submit(self._attempt, each)
            self._in_flight[future] = each
            future.add_done_callback(lambda done: self._in_flight.pop(done, None))
        return len(takes) < len(waiting)

    def _attempt(self, due: ClaimedDelivery) -> None:
        with log_context(
            delivery_id=due.id, event_id=event_id(due.event_id), job_id=due.job_id, request_id=due.request_id
        ):
            self._inbox.put(self._make(due))

    def _make(self, due: ClaimedDelivery) -> Attempt:
        ids = {"delivery_id": str(due.id), "endpoint_id": str(due.endpoint_id)}
        try:
            with span("webhook attempt", ids, parent=due.traceparent, kind=SpanKind.CLIENT) as current:
                attempt = self._sender.send(due)
                add_attributes(current, _outcome(attempt))
        except Exception:  # a bug of ours: it is logged, counts as a failure, and leaves no place taken for ever
            log.exception("webhook_attempt_crashed")
            return Attempt(due, dt.datetime.now(dt.UTC), 0.0, error="internal_error")
        log.info(
            "webhook_attempted",
            endpoint_id=str(due.endpoint_id),
            is_delivered=attempt.is_success,
            status_code=attempt.status_code,
            error=attempt.error,
            latency_ms=round(attempt.latency_ms, 1),
        )
        return attempt

    def _finish(self) -> None:
        deadline = time.monotonic() + self._settings.grace_s
        # A copy: each that is canceled takes itself out.
        not_begun = [due for future, due in list(self._in_flight.items()) if future.cancel()]
        while self._in_flight and time.monotonic() < deadline:
            self._collect(0.1)
        self._pool.shutdown(wait=False)
        self._collect(0)
        try:
            with self._sessions.begin() as session:
                release(session, not_begun)
            self._record_outcomes()
        except (DBAPIError, PoolTimeout, TimeoutError) as error:
            log.warning("webhook_outcomes_lost", attempts=len(self._unrecorded), why=str(error))

    def _tell(self, *, is_healthy: bool, why: str = "") -> None:
        if is_healthy != self._was_healthy:
            log.warning("webhooks_recovered" if is_healthy else "webhooks_failed", why=why)
        self._was_healthy = is_healthy


def _outcome(attempt: Attempt) -> Attributes:
    """What came of it, for its span."""
    if attempt.status_code is None:
        return {"error.type": attempt.error or "unknown"}
    return {"http.response.status_code": attempt.status_code}

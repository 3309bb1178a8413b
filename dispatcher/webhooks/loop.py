"""The delivery loop: one thread claims deliveries and records outcomes in batches; a thread pool makes the attempts."""

from __future__ import annotations

import datetime as dt
import queue
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

from opentelemetry.trace import SpanKind

from core.db.engine import Sessions
from core.db.errors import STATEMENT_FAILED
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
"""How often to look for due deliveries. New events arrive immediately by NOTIFY."""

THROTTLED_POLL_S = 0.05
"""How soon to look again if a rate or concurrency limit held deliveries back."""

LEASE_MARGIN_S = 15.0


class DeliveryLoop:
    """Delivers webhooks; call `run`. After a crash, deliveries without a recorded outcome are attempted again."""

    def __init__(
        self,
        settings: WebhookSettings,
        sessions: Sessions,
        sender: Sender,
        metrics: DispatcherMetrics | None = None,
        liveness: Liveness | None = None,
    ) -> None:
        self._metrics = metrics or DispatcherMetrics()
        self._liveness = liveness or Liveness(Heartbeat(None))
        self._settings = settings
        self._sessions = sessions
        self._sender = sender
        self._limiter = ConcurrencyLimiter(settings)
        # Wakes the loop: an attempt that has ended, or None if something may be due.
        self._inbox: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._unrecorded: list[Attempt] = []
        self._in_flight: dict[Future[None], ClaimedDelivery] = {}
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="webhook")
        self._was_healthy = True

    def wake(self) -> None:
        """Wakes the loop because something may be due. Thread-safe."""
        self._inbox.put(None)

    def run(self, stopping: threading.Event) -> None:
        """Delivers until `stopping` is set, then waits up to `grace_s` for the attempts in flight."""
        wait_s = 0.0
        while not stopping.is_set():
            self._collect(wait_s)
            with self._liveness.round("delivery"):
                wait_s = self._round()
        self._finish()

    def _round(self) -> float:
        """Records ended attempts and starts new ones. Returns the maximum time to wait before the next round."""
        try:
            self._record_outcomes()
            is_throttled = self._start_attempts()
            self._log_health(is_healthy=True)
        except (*STATEMENT_FAILED, TimeoutError) as error:
            self._log_health(is_healthy=False, why=str(error))
            return POLL_S
        return THROTTLED_POLL_S if is_throttled else POLL_S

    def _collect(self, wait_s: float) -> None:
        """Collects all ended attempts. Waits up to `wait_s` for the first message in the inbox."""
        try:
            self._handle(self._inbox.get(timeout=wait_s) if wait_s else self._inbox.get_nowait())
            while True:
                self._handle(self._inbox.get_nowait())
        except queue.Empty:
            return

    def _handle(self, ended: Attempt | None) -> None:
        if ended is not None:
            self._limiter.record_end(ended)
            self._metrics.webhook_attempts.labels("delivered" if ended.is_success else "failed").inc()
            self._metrics.webhook_attempt_seconds.observe(ended.latency_ms / 1000)
            self._unrecorded.append(ended)

    def _record_outcomes(self) -> None:
        if self._unrecorded:
            with self._sessions.begin() as session:
                record_outcomes(session, self._unrecorded, self._settings)
            self._unrecorded = []
        self._limiter.forget_idle()

    def _start_attempts(self) -> bool:
        """Claims deliveries and starts their attempts. Returns whether a limit held some endpoints back."""
        # Two per thread, so that threads have work while this thread waits for the database.
        room = 2 * self._settings.threads - self._limiter.in_flight
        with self._sessions.begin() as session:
            ready = find_ready_endpoints(session, self._settings.rest_after_failures)
            requests = self._limiter.plan(ready, room)
            # A claimed delivery may wait for a thread behind two attempts that time out, and then time out itself.
            claimed = claim(session, requests, 3 * self._settings.timeout_s + LEASE_MARGIN_S)
        for delivery in claimed:
            self._limiter.record_start(delivery)
            future = self._pool.submit(self._attempt, delivery)
            self._in_flight[future] = delivery
            future.add_done_callback(lambda done: self._in_flight.pop(done, None))
        return len(requests) < len(ready)

    def _attempt(self, delivery: ClaimedDelivery) -> None:
        with log_context(
            delivery_id=delivery.id,
            event_id=event_id(delivery.event_id),
            job_id=delivery.job_id,
            request_id=delivery.request_id,
        ):
            self._inbox.put(self._attempt_in_span(delivery))

    def _attempt_in_span(self, delivery: ClaimedDelivery) -> Attempt:
        ids = {"delivery_id": str(delivery.id), "endpoint_id": str(delivery.endpoint_id)}
        try:
            with span("webhook attempt", ids, parent=delivery.traceparent, kind=SpanKind.CLIENT) as current:
                attempt = self._sender.send(delivery)
                add_attributes(current, _span_attributes(attempt))
        except Exception:  # a bug: log it and count a failure, so that the attempt does not stay in flight forever
            log.exception("webhook_attempt_crashed")
            return Attempt(delivery, dt.datetime.now(dt.UTC), 0.0, error="internal_error")
        log.info(
            "webhook_attempted",
            endpoint_id=str(delivery.endpoint_id),
            is_delivered=attempt.is_success,
            status_code=attempt.status_code,
            error=attempt.error,
            latency_ms=round(attempt.latency_ms, 1),
        )
        return attempt

    def _finish(self) -> None:
        deadline = time.monotonic() + self._settings.grace_s
        # Iterates over a copy, because a canceled future removes itself.
        not_started = [delivery for future, delivery in list(self._in_flight.items()) if future.cancel()]
        while self._in_flight and time.monotonic() < deadline:
            self._collect(0.1)
        self._pool.shutdown(wait=False)
        self._collect(0)
        try:
            with self._sessions.begin() as session:
                release(session, not_started)
            self._record_outcomes()
        except (*STATEMENT_FAILED, TimeoutError) as error:
            log.warning("webhook_outcomes_lost", attempts=len(self._unrecorded), why=str(error))

    def _log_health(self, *, is_healthy: bool, why: str = "") -> None:
        if is_healthy != self._was_healthy:
            log.warning("webhooks_recovered" if is_healthy else "webhooks_failed", why=why)
        self._was_healthy = is_healthy


def _span_attributes(attempt: Attempt) -> Attributes:
    """Returns the span attributes for the outcome of the attempt."""
    if attempt.status_code is None:
        return {"error.type": attempt.error or "unknown"}
    return {"http.response.status_code": attempt.status_code}

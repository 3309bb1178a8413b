"""Limits on concurrent attempts and on attempts per second, per endpoint.

Concurrency works like TCP's slow start: an endpoint starts with one attempt at a time and gets one more with each
success, up to `max_concurrency`. A failure resets it to one. An endpoint that hangs therefore blocks a single thread.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from core.settings import WebhookSettings
from dispatcher.webhooks.delivery_queue import (
    Attempt,
    ClaimedDelivery,
    ClaimRequest,
    ReadyEndpoint,
)


@dataclass
class _EndpointState:
    window: int = 1
    in_flight: int = 0
    tokens: float = 1.0
    filled_at: float = 0.0
    is_failing: bool = False


class ConcurrencyLimiter:
    """Tracks the endpoints that were attempted recently. Not thread-safe."""

    def __init__(self, settings: WebhookSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._endpoints: dict[uuid.UUID, _EndpointState] = {}

    @property
    def in_flight(self) -> int:
        """The number of attempts in flight, to all endpoints."""
        return sum(state.in_flight for state in self._endpoints.values())

    def plan(self, ready: Iterable[ReadyEndpoint], room: int) -> list[ClaimRequest]:
        """Returns the claims to make now, for at most `room` deliveries.

        Endpoints with few attempts in flight go first. All failing endpoints together get at most half of the threads.
        """
        failing_room = self._settings.threads // 2 - sum(p.in_flight for p in self._endpoints.values() if p.is_failing)
        requests = []
        for each in sorted(ready, key=lambda each: self._state(each.endpoint_id).in_flight):
            count = min(self._allowance(each), room, failing_room if self._is_failing(each) else room)
            if count <= 0:
                continue
            requests.append(ClaimRequest(each.endpoint_id, count, is_probe=each.is_failing or not each.has_due))
            room -= count
            failing_room -= count if self._is_failing(each) else 0
        return requests

    def record_start(self, delivery: ClaimedDelivery) -> None:
        """Records the start of an attempt."""
        state = self._state(delivery.endpoint_id)
        state.in_flight += 1
        state.tokens -= 1

    def record_end(self, attempt: Attempt) -> None:
        """Records the end of an attempt and adjusts the endpoint's concurrency."""
        state = self._state(attempt.delivery.endpoint_id)
        state.in_flight -= 1
        state.is_failing = not attempt.is_success
        state.window = min(state.window + 1, self._settings.max_concurrency) if attempt.is_success else 1

    def forget_idle(self) -> None:
        """Drops endpoints without attempts in flight whose rate limit has refilled."""
        now = self._clock()
        self._endpoints = {
            endpoint_id: state
            for endpoint_id, state in self._endpoints.items()
            if state.in_flight or state.is_failing or now - state.filled_at < 1
        }

    def _is_failing(self, endpoint: ReadyEndpoint) -> bool:
        return endpoint.is_failing or self._state(endpoint.endpoint_id).is_failing

    def _allowance(self, endpoint: ReadyEndpoint) -> int:
        state = self._state(endpoint.endpoint_id)
        window = 1 if endpoint.is_failing or not endpoint.has_due else state.window
        return min(window - state.in_flight, int(self._tokens(state, endpoint)))

    def _tokens(self, state: _EndpointState, endpoint: ReadyEndpoint) -> float:
        rate = min(endpoint.max_rate_per_s or self._settings.max_rate_per_s, self._settings.max_rate_per_s)
        now = self._clock()
        state.tokens = min(state.tokens + (now - state.filled_at) * rate, max(1.0, rate))
        state.filled_at = now
        return state.tokens

    def _state(self, endpoint_id: uuid.UUID) -> _EndpointState:
        if endpoint_id not in self._endpoints:
            self._endpoints[endpoint_id] = _EndpointState(filled_at=self._clock())
        return self._endpoints[endpoint_id]

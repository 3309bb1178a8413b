"""How many attempts an endpoint gets at a time: earned by successes, capped, and never more per second than it may.

A slow start as in TCP: an endpoint begins with one attempt at a time and gets one more with each success, up to the
limit; a failure takes it back to one. So an endpoint that hangs holds one of our threads, not many.
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
    """The paces of all endpoints that have lately been asked. Used by one thread."""

    def __init__(self, settings: WebhookSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._paces: dict[uuid.UUID, _EndpointState] = {}

    @property
    def in_flight(self) -> int:
        """Attempts under way, at all endpoints."""
        return sum(pace.in_flight for pace in self._paces.values())

    def plan(self, waiting: Iterable[ReadyEndpoint], room: int) -> list[ClaimRequest]:
        """What to claim now: at most `room` deliveries, the endpoints that have least under way first.

        Endpoints that fail get at most half of all threads, however many they are.
        """
        failing_room = self._settings.threads // 2 - sum(p.in_flight for p in self._paces.values() if p.is_failing)
        takes = []
        for each in sorted(waiting, key=lambda each: self._pace(each.endpoint_id).in_flight):
            count = min(self._allowance(each), room, failing_room if self._is_failing(each) else room)
            if count <= 0:
                continue
            takes.append(ClaimRequest(each.endpoint_id, count, is_probe=each.is_failing or not each.has_due))
            room -= count
            failing_room -= count if self._is_failing(each) else 0
        return takes

    def started(self, due: ClaimedDelivery) -> None:
        """An attempt has begun."""
        pace = self._pace(due.endpoint_id)
        pace.in_flight += 1
        pace.tokens -= 1

    def ended(self, attempt: Attempt) -> None:
        """An attempt has ended."""
        pace = self._pace(attempt.due.endpoint_id)
        pace.in_flight -= 1
        pace.is_failing = not attempt.is_success
        pace.window = min(pace.window + 1, self._settings.max_concurrency) if attempt.is_success else 1

    def forget_idle(self) -> None:
        """Drops what need not be remembered: endpoints at rest, with their allowance full again."""
        now = self._clock()
        self._paces = {
            endpoint_id: pace
            for endpoint_id, pace in self._paces.items()
            if pace.in_flight or pace.is_failing or now - pace.filled_at < 1
        }

    def _is_failing(self, waiting: ReadyEndpoint) -> bool:
        return waiting.is_failing or self._pace(waiting.endpoint_id).is_failing

    def _allowance(self, waiting: ReadyEndpoint) -> int:
        pace = self._pace(waiting.endpoint_id)
        window = 1 if waiting.is_failing or not waiting.has_due else pace.window
        return min(window - pace.in_flight, int(self._tokens(pace, waiting)))

    def _tokens(self, pace: _EndpointState, waiting: ReadyEndpoint) -> float:
        rate = min(waiting.max_rate_per_s or self._settings.max_rate_per_s, self._settings.max_rate_per_s)
        now = self._clock()
        pace.tokens = min(pace.tokens + (now - pace.filled_at) * rate, max(1.0, rate))
        pace.filled_at = now
        return pace.tokens

    def _pace(self, endpoint_id: uuid.UUID) -> _EndpointState:
        if endpoint_id not in self._paces:
            self._paces[endpoint_id] = _EndpointState(filled_at=self._clock())
        return self._paces[endpoint_id]

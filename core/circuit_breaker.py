"""A circuit breaker: after a failure nobody asks for a while, so that a dead server costs one wait and not one each."""

from __future__ import annotations

import threading
import time


class Breaker:
    """Closed at first. Thread-safe.

    Args:
        rest_s: how long nobody asks after a failure; then one caller tries while the others still do without.
    """

    def __init__(self, rest_s: float) -> None:
        self._rest_s = rest_s
        self._lock = threading.Lock()
        self._rests_until: float | None = None

    def may_try(self) -> bool:
        """Whether to ask now. Who is told so must say how it went."""
        with self._lock:
            if self._rests_until is None:
                return True
            now = time.monotonic()
            if now < self._rests_until:
                return False
            self._rests_until = now + self._rest_s
            return True

    def worked(self) -> None:
        """The server answered: everybody may ask again."""
        with self._lock:
            self._rests_until = None

    def failed(self) -> bool:
        """The server did not answer. Returns whether that is news, for a log line."""
        with self._lock:
            is_news = self._rests_until is None
            self._rests_until = time.monotonic() + self._rest_s
            return is_news

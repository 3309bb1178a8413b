"""A circuit breaker.

After a failure it blocks calls for a while, so that a dead server costs one timeout in all and not one per caller.
"""

from __future__ import annotations

import threading
import time


class CircuitBreaker:
    """Starts closed, which allows all calls. Thread-safe.

    Args:
        cooldown_s: how long calls are blocked after a failure. Then one trial call is allowed, and all others stay
            blocked until it succeeds.
    """

    def __init__(self, cooldown_s: float) -> None:
        self._cooldown_s = cooldown_s
        self._lock = threading.Lock()
        self._open_until: float | None = None

    def allows_call(self) -> bool:
        """Whether to call the server now. Callers allowed through must report success or failure."""
        with self._lock:
            if self._open_until is None:
                return True
            now = time.monotonic()
            if now < self._open_until:
                return False
            self._open_until = now + self._cooldown_s
            return True

    def record_success(self) -> None:
        """Closes the breaker."""
        with self._lock:
            self._open_until = None

    def record_failure(self) -> bool:
        """Opens the breaker for `cooldown_s`. Returns True if it was closed before, so that callers log once."""
        with self._lock:
            was_closed = self._open_until is None
            self._open_until = time.monotonic() + self._cooldown_s
            return was_closed

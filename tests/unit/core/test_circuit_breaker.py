"""The circuit breaker: after a failure nobody asks for a while, then one does."""

from __future__ import annotations

import pytest

from core import circuit_breaker
from core.circuit_breaker import CircuitBreaker


def test_one_tries_after_the_rest_and_opens_it_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(circuit_breaker.time, "monotonic", lambda: now)
    guard = CircuitBreaker(cooldown_s=5)
    assert guard.allows_call()
    assert guard.record_failure()
    assert not guard.record_failure(), "only the first failure is news"

    now += 4.9
    assert not guard.allows_call()
    now += 0.2
    assert [guard.allows_call() for _ in range(3)] == [True, False, False]

    guard.record_success()
    assert guard.allows_call()
    assert guard.record_failure()

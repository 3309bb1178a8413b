"""Connection pool that fails fast while Postgres is unavailable.

Without it every request would wait some seconds for a hanging Postgres, and soon all threads would be waiting. Then
even `/healthz` would time out, and the orchestrator would kill a healthy process.
"""

from __future__ import annotations

from typing import Any

from psycopg import Error
from sqlalchemy import PoolProxiedConnection, QueuePool
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.circuit_breaker import CircuitBreaker

COOLDOWN_S = 2.0


class CircuitBreakerPool(QueuePool):
    """Connection pool with a circuit breaker.

    After a failed connection only one request per `COOLDOWN_S` tries to connect. All others fail immediately.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._breaker = CircuitBreaker(COOLDOWN_S)

    def connect(self) -> PoolProxiedConnection:
        """Returns a connection that has just responded. Raises PoolTimeout, or psycopg's error of the attempt."""
        if not self._breaker.allows_call():
            raise PoolTimeout("Postgres did not answer a moment ago")
        try:
            connection = super().connect()
        except Error:
            self._breaker.record_failure()
            raise
        self._breaker.record_success()
        return connection

"""A pool of connections that refuses at once while Postgres is known not to answer.

Without it every request would wait some seconds for a Postgres that hangs, and soon all threads would: not even
`/healthz` would be answered, and whoever probes it would end a process that is well.
"""

from __future__ import annotations

from typing import Any

from psycopg import Error
from sqlalchemy import PoolProxiedConnection, QueuePool
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.circuit_breaker import Breaker

REST_S = 2.0


class WaryPool(QueuePool):
    """After a connection that could not be had, one request every `REST_S` tries, and the others are told so."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._breaker = Breaker(REST_S)

    def connect(self) -> PoolProxiedConnection:
        """A connection that has just answered. Raises PoolTimeout, or psycopg's error of the attempt."""
        if not self._breaker.may_try():
            raise PoolTimeout("Postgres did not answer a moment ago")
        try:
            connection = super().connect()
        except Error:
            self._breaker.failed()
            raise
        self._breaker.worked()
        return connection

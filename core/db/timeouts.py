"""Connections that time out if Postgres hangs.

If the server process dies, its connections close, and if its host vanishes, the kernel gives up by TCP (`TCP_OPTIONS`).
If the server stalls (a frozen disk, a paused machine), neither happens: its kernel still acknowledges packets, and
libpq has no timeout for answers. `statement_timeout` does not help, because the stalled server would have to enforce
it. The timeout is therefore enforced in `wait`, through which psycopg runs every exchange with the server.

If the server is only slow, it is asked to cancel the statement, so that an abandoned statement does not keep running.
Unlike a session setting, this works through PgBouncer in transaction mode and adds no round trip.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from typing import Any, ClassVar

import psycopg
from psycopg import capabilities
from psycopg.abc import RV, PQGen
from psycopg.waiting import Ready, Wait
from sqlalchemy import Engine, event

TCP_OPTIONS: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    # Limit for unacknowledged data, in milliseconds. Keepalives are sent only on an idle connection.
    "tcp_user_timeout": 20_000,
}
"""libpq options that make the kernel close a connection within 20 s after its host vanished."""

CANCEL_TIMEOUT_S = 1.0


class AnswerTimeout(psycopg.OperationalError):
    """Postgres did not answer in time. The connection is closed."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that waits at most `answer_timeout_s` for each answer."""

    answer_timeout_s: ClassVar[float] = 5.0

    def wait(self, gen: PQGen[RV], *arguments: Any, **named: Any) -> RV:
        """Runs `gen`, an exchange such as one statement, to its end. Raises AnswerTimeout."""
        try:
            return super().wait(_with_time_limit(gen, self.answer_timeout_s), *arguments, **named)
        except AnswerTimeout:
            self._cancel_and_close()
            raise

    def _cancel_and_close(self) -> None:
        # Before libpq 17, cancelling may itself hang forever.
        if capabilities.has_cancel_safe():
            with contextlib.suppress(psycopg.Error):
                self.cancel_safe(timeout=CANCEL_TIMEOUT_S)
        self.close()


def _with_time_limit(gen: PQGen[RV], limit_s: float) -> Generator[Wait, Ready | int, RV]:
    """Runs `gen` with a time limit. psycopg sends `Ready.NONE` ten times per second while the socket is silent."""
    give_up_at = time.monotonic() + limit_s
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready == Ready.NONE and time.monotonic() > give_up_at:
                raise AnswerTimeout(f"Postgres did not answer within {limit_s:g} s")
            wanted = gen.send(ready)
    except StopIteration as end:
        answer: RV = end.value
        return answer


def limit_answer_time(engine: Engine, answer_timeout_s: float) -> None:
    """Makes the engine open connections of the class `BoundedConnection` with this timeout."""

    class Connection(BoundedConnection):
        pass

    Connection.answer_timeout_s = answer_timeout_s

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        return Connection.connect(*arguments, **options)

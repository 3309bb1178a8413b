"""Connections that do not wait for ever for a Postgres that hangs.

A server that dies closes its connections, and of a host that is gone the kernel finds out by TCP (`TCP`). A server that
stands still (a frozen disk, a paused machine) does neither: its kernel goes on confirming what it is sent, and libpq
knows no limit for an answer. `statement_timeout` does not help, since the server itself would have to look at the
clock. So the limit is kept here, where psycopg waits for the socket: everything that is asked passes `wait`.

A server that merely takes long is asked to cancel the statement, so that none runs on for nobody. Unlike a setting of
the session, this passes PgBouncer in transaction mode, and it costs no round trip while all is well.
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

TCP: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    # For what was sent and never confirmed, in milliseconds: keepalives are only sent when nothing is under way.
    "tcp_user_timeout": 20_000,
}
"""Options of libpq by which the kernel gives up, within 20 s, on a host that went without a word."""

CANCEL_WITHIN_S = 1.0


class OverdueError(psycopg.OperationalError):
    """Postgres did not answer in time. The connection is closed."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that waits for no answer longer than `answer_within_s`."""

    answer_within_s: ClassVar[float] = 5.0

    def wait(self, gen: PQGen[RV], *arguments: Any, **named: Any) -> RV:
        """Brings `gen`, such as one statement, to its end. Raises OverdueError."""
        try:
            return super().wait(_within(gen, self.answer_within_s), *arguments, **named)
        except OverdueError:
            self._give_up()
            raise

    def _give_up(self) -> None:
        # The way to cancel of a libpq before 17 would itself wait for ever.
        if capabilities.has_cancel_safe():
            with contextlib.suppress(psycopg.Error):
                self.cancel_safe(timeout=CANCEL_WITHIN_S)
        self.close()


def _within(gen: PQGen[RV], limit_s: float) -> Generator[Wait, Ready | int, RV]:
    """The same steps as `gen`. psycopg sends `Ready.NONE` ten times a second while there is nothing on the socket."""
    give_up_at = time.monotonic() + limit_s
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready == Ready.NONE and time.monotonic() > give_up_at:
                raise OverdueError(f"Postgres did not answer within {limit_s:g} s")
            wanted = gen.send(ready)
    except StopIteration as end:
        answer: RV = end.value
        return answer


def bound(engine: Engine, answer_within_s: float) -> None:
    """Makes all connections of the engine bounded ones."""

    class Connection(BoundedConnection):
        pass

    Connection.answer_within_s = answer_within_s

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        return Connection.connect(*arguments, **options)

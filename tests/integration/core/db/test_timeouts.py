"""Statements that take too long: given up on our side, and canceled on the server's."""

from __future__ import annotations

import time

import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from core.db.engine import make_engine
from core.db.timeouts import AnswerTimeout, BoundedConnection
from core.settings import Settings
from tests.processes import wait_until


def running_sleeps(url: str) -> int:
    """How many statements of this database still sleep."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND state = 'active' AND query LIKE 'SELECT pg_sleep%'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def write_half(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO note VALUES ('half')"))
        connection.execute(text("SELECT pg_sleep(60)"))


def test_a_statement_that_takes_too_long_is_given_up_and_canceled(settings: Settings) -> None:
    engine = make_engine(settings, answer_timeout_s=0.5)
    started = time.monotonic()

    with pytest.raises(OperationalError) as caught, engine.connect() as connection:
        connection.execute(text("SELECT pg_sleep(60)"))

    assert isinstance(caught.value.orig, AnswerTimeout)
    assert caught.value.connection_invalidated
    assert time.monotonic() - started < 3
    url = settings.database.url.get_secret_value()
    wait_until(lambda: running_sleeps(url) == 0, 5, "the statement to end on the server")
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    engine.dispose()


def test_what_was_written_before_is_not_kept(settings: Settings) -> None:
    engine = make_engine(settings, answer_timeout_s=0.5)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE note (line text)"))

    with pytest.raises(OperationalError):
        write_half(engine)

    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM note")) == 0
    engine.dispose()


def test_a_listener_hears_on_a_bounded_connection(settings: Settings) -> None:
    class Hasty(BoundedConnection):
        answer_timeout_s = 0.3

    with Hasty.connect(settings.database.url.get_secret_value(), autocommit=True) as connection:
        connection.execute("LISTEN nothing")
        assert list(connection.notifies(timeout=0.2)) == []
        connection.execute("NOTIFY nothing, 'at last'")
        assert [notice.payload for notice in connection.notifies(timeout=0.2)] == ["at last"]

"""Migrations under the eyes of the release before: what it wrote and writes on stays right."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from cli.local.postgres import EmbeddedPostgres
from core.db.engine import make_engine, migrate
from core.settings import DatabaseSettings, Settings


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Settings]:
    """A server without a schema."""
    with EmbeddedPostgres(tmp_path / "postgres", durable=False) as server:
        yield Settings(database=DatabaseSettings(url=SecretStr(server.url)))


@pytest.fixture
def engine(fresh: Settings) -> Iterator[Engine]:
    engine = make_engine(fresh)
    yield engine
    engine.dispose()


def insert_as_before(engine: Engine) -> None:
    """A row as release 0005 makes it."""
    statement = text(
        "INSERT INTO job (id, owner_id, lane, status, address, is_upload, attempt, retries, crashes) "
        "VALUES (:id, 'o', 'bulk', 'queued', 'https://a/b', false, 0, 0, 0)"
    )
    with engine.begin() as connection:
        connection.execute(statement, {"id": uuid.uuid4()})


def waiting(engine: Engine) -> int:
    with engine.begin() as connection:
        found = connection.execute(
            text("SELECT count(*) FROM job WHERE queued_at BETWEEN now() - '1 min'::interval AND now()")
        )
        return int(found.scalar_one())


def test_rows_from_before_and_of_the_old_release_wait_since_a_known_moment(fresh: Settings, engine: Engine) -> None:
    migrate(fresh, "0005")
    insert_as_before(engine)
    migrate(fresh)
    insert_as_before(engine)
    assert waiting(engine) == 2


def test_a_migration_that_was_cut_off_before_its_index_is_made_up_for(fresh: Settings, engine: Engine) -> None:
    migrate(fresh, "0006")
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX ix_job_waiting"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0005'"))
    insert_as_before(engine)
    migrate(fresh)
    assert waiting(engine) == 1
    with engine.begin() as connection:
        assert connection.execute(text("SELECT to_regclass('ix_job_waiting')")).scalar_one()


def test_several_that_migrate_at_once_do_not_wait_for_each_other_for_ever(fresh: Settings, engine: Engine) -> None:
    threads = [threading.Thread(target=migrate, args=(fresh,), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    insert_as_before(engine)
    assert waiting(engine) == 1

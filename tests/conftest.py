"""Servers and settings for all tests: a real Postgres and a real Redis, given by variable or started from wheels."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from cli.local.postgres import EmbeddedPostgres
from cli.local.redis import EmbeddedRedis
from core.db.engine import (
    Sessions,
    make_engine,
    make_sessions,
    migrate,
)
from core.jobs.queue import Publisher
from core.settings import (
    ApiSettings,
    DatabaseSettings,
    FetchSettings,
    QueueSettings,
    Settings,
    StorageSettings,
)
from tests import servers
from tests.ports import free_port

SERVERS = {"postgres_url", "redis_url", "postgres_server", "redis_server", "browser"}

LOOPBACK = ("127.0.0.0/8", "::1/128")


def pytest_configure() -> None:
    """A shell's background job is born deaf to SIGINT, and so would be the services that tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that need servers or a browser, by the fixtures they ask for."""
    for item in items:
        if SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.servers)


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Postgres server's address."""
    with servers.postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server's address."""
    with servers.redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str) -> str:
    """The name of a database with the schema at head, which tests copy in milliseconds."""
    url = servers.fresh_database(postgres_url, name="enrich_template")
    migrate(Settings(database=DatabaseSettings(url=SecretStr(url))))
    return "enrich_template"


NewSettings = Callable[[Path], AbstractContextManager[Settings]]


@pytest.fixture(scope="session")
def new_settings(postgres_url: str, redis_url: str, migrated_template: str) -> NewSettings:
    """Makes settings of a service of one's own: a fresh database, an empty queue, a folder for uploads."""

    @contextlib.contextmanager
    def new(folder: Path) -> Iterator[Settings]:
        database_url = servers.fresh_database(postgres_url, template=migrated_template)
        with Redis.from_url(redis_url) as redis:
            redis.flushall()
        yield Settings(
            database=DatabaseSettings(url=SecretStr(database_url)),
            queue=QueueSettings(url=SecretStr(redis_url)),
            storage=StorageSettings(folder=folder / "uploads"),
            fetch=FetchSettings(allow_networks=LOOPBACK),
            api=ApiSettings(require_key=False),
        )
        servers.drop_database(postgres_url, database_url)

    return new


@pytest.fixture
def settings(new_settings: NewSettings, tmp_path: Path) -> Iterator[Settings]:
    """A service of the test's own."""
    with new_settings(tmp_path) as settings:
        yield settings


@pytest.fixture
def sessions(settings: Settings) -> Iterator[Sessions]:
    """Sessions on the test's own database."""
    engine = make_engine(settings)
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture
def publisher(settings: Settings) -> Iterator[Publisher]:
    """Publishes into the test's own queue."""
    publisher = Publisher(settings)
    yield publisher
    publisher.close()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A Redis of the test's own, to be killed or stopped; it forgets everything when it is killed."""
    with EmbeddedRedis(tmp_path / "redis", port=free_port(), aof=False) as server:
        yield server


@pytest.fixture
def postgres_server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A Postgres of the test's own, to be killed or stopped."""
    with EmbeddedPostgres(tmp_path / "postgres", port=free_port(), durable=False) as server:
        yield server

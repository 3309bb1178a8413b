"""The test suite's servers: those named by variables, or real ones that are started from wheels.

`ENRICH_TEST_DATABASE_URL` and `ENRICH_TEST_REDIS_URL` point at servers of your own. The user of the first must be
allowed to create databases; the second is emptied by the tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from cli.local.postgres import EmbeddedPostgres
from cli.local.redis import EmbeddedRedis
from tests.ports import free_port


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """The address of a Postgres server: the given one, or our own in `folder` while the block runs."""
    if given := os.environ.get("ENRICH_TEST_DATABASE_URL"):
        yield given
        return
    with EmbeddedPostgres(folder, port=free_port(), durable=False) as server:
        yield server.url


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """The address of a Redis server: the given one, or our own in `folder` while the block runs."""
    if given := os.environ.get("ENRICH_TEST_REDIS_URL"):
        yield given
        return
    with EmbeddedRedis(folder, port=free_port(), aof=False) as server:
        yield server.url


def fresh_database(base_url: str, *, name: str | None = None, template: str | None = None) -> str:
    """Creates a database on the server of `base_url` and returns its address.

    Args:
        base_url: any database of the server; its user must be allowed to create databases.
        name: its name; one of that name is dropped first. A random one if unset.
        template: the database it is a copy of. Nobody may be connected to that one.
    """
    name = name or f"test_{uuid4().hex[:12]}"
    _drop(base_url, name)
    statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
    if template is not None:
        # Copying files beats copying through the log for something as small as an empty schema.
        statement += sql.SQL(" TEMPLATE {} STRATEGY FILE_COPY").format(sql.Identifier(template))
    with psycopg.connect(base_url, autocommit=True) as connection:
        connection.execute(statement)
    return urlunsplit(urlsplit(base_url)._replace(path=f"/{name}"))


def drop_database(base_url: str, url: str) -> None:
    """Drops the database at `url`, ending its sessions."""
    _drop(base_url, urlsplit(url).path.lstrip("/"))


def _drop(base_url: str, name: str) -> None:
    with psycopg.connect(base_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

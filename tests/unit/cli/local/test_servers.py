"""The embedded servers: they start, survive a kill, keep their data, and report clearly why they cannot start."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from redis import Redis

from cli.local.postgres import EmbeddedPostgres
from cli.local.redis import EmbeddedRedis
from cli.local.server import Server
from core.startup_errors import FolderInUse, PortTaken, StartError
from tests.processes import ROOT, wait_until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One Postgres for all tests of this module, because initializing its data is slow."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("with blank") / "postgres")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def postgres(cluster: EmbeddedPostgres) -> EmbeddedPostgres:
    cluster.start()
    return cluster


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "with blank") as server:
        yield server


def count_rows(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
    assert row is not None
    return int(row[0])


def test_postgres_keeps_committed_data_after_a_kill(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.url) as connection:
        connection.execute("DROP TABLE IF EXISTS kept")
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    url = postgres.url
    postgres.kill()
    assert postgres.start() == url
    assert count_rows(url) == 1000
    assert postgres.restart() == url
    assert count_rows(url) == 1000


def test_postgres_is_18_requires_its_password_and_listens_on_loopback_only(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.url) as connection:
        assert connection.info.server_version // 10_000 == 18
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres.url.replace(postgres.password, "wrong"))
    assert stat.S_IMODE(postgres.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((postgres.folder / "password").stat().st_mode) == 0o600


def test_postgres_starts_despite_a_pid_file_with_a_reused_id(postgres: EmbeddedPostgres) -> None:
    # As in a restarted container: another process now has the old id.
    postgres.kill()
    pid_file = postgres.data / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{postgres.data}\n")
    postgres.start()
    assert int(pid_file.read_text().split()[0]) == postgres.pid


def test_postgres_stops_an_orphan_of_its_own(postgres: EmbeddedPostgres) -> None:
    orphan = postgres.pid
    assert orphan is not None
    assert postgres._lock is not None
    postgres._lock.release()  # what the kernel does when the parent dies
    with EmbeddedPostgres(postgres.folder) as second:
        assert not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == psutil.STATUS_ZOMBIE
        assert second.pid != orphan
    postgres.kill()


def test_an_interrupted_initdb_is_repeated(tmp_path: Path) -> None:
    unfinished = tmp_path / "data.unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path, durable=False) as server:
        assert server.is_ready()
    assert not unfinished.exists()


def test_data_of_another_postgres_version_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("14\n")
    with pytest.raises(StartError, match=r"was created by Postgres 14, but this is Postgres 18"):
        EmbeddedPostgres(tmp_path).start()


def test_a_folder_without_postgres_data_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "holiday.txt").write_text("mine")
    with pytest.raises(StartError, match="is not a Postgres data folder"):
        EmbeddedPostgres(tmp_path).start()


def test_corrupt_data_is_reported_with_the_end_of_the_log(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path, durable=False):
        pass
    (tmp_path / "data" / "global" / "pg_control").write_bytes(b"")
    with pytest.raises(StartError, match="pg_control"):
        EmbeddedPostgres(tmp_path, durable=False).start()


def test_redis_keeps_the_queue_over_a_restart_and_never_evicts(redis: EmbeddedRedis) -> None:
    url = redis.url
    with Redis.from_url(url, decode_responses=True) as client:
        client.lpush("enrich", "message")
        options = client.config_get("maxmemory-policy", "append*", "bind")
    assert options["maxmemory-policy"] == "noeviction"
    assert (options["appendonly"], options["appendfsync"]) == ("yes", "everysec")
    assert options["bind"] == "127.0.0.1"
    assert redis.restart() == url
    with Redis.from_url(url, decode_responses=True) as client:
        assert client.lrange("enrich", 0, -1) == ["message"]


def test_redis_starts_again_after_a_kill(redis: EmbeddedRedis) -> None:
    redis.kill()
    redis.start()
    assert redis.is_ready()


def test_redis_starts_with_a_truncated_append_only_file(redis: EmbeddedRedis) -> None:
    with Redis.from_url(redis.url) as client:
        client.set("a", "b")
    redis.stop()
    (log,) = redis.folder.glob("appendonlydir/*.incr.aof")
    with log.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$1\r\nx")
    redis.start()
    with Redis.from_url(redis.url, decode_responses=True) as client:
        assert client.get("a") == "b"


@pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedRedis])
def test_a_taken_port_is_reported(kind: type[Server], tmp_path: Path, postgres: EmbeddedPostgres) -> None:
    if kind is EmbeddedPostgres:
        postgres.stop()
    folder = postgres.folder if kind is EmbeddedPostgres else tmp_path
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"Port {port} on 127.0.0.1 is taken"):
            kind(folder, port=port).start()


@pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedRedis])
def test_a_folder_in_use_names_its_holder(kind: type[Server], tmp_path: Path, postgres: EmbeddedPostgres) -> None:
    with EmbeddedRedis(tmp_path) as redis:
        folder = postgres.folder if kind is EmbeddedPostgres else redis.folder
        with pytest.raises(FolderInUse, match=f"in use by process {os.getpid()}"):
            kind(folder).start()


@pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedRedis])
def test_a_folder_that_cannot_be_created_is_reported(kind: type[Server], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StartError, match="Cannot create or write"):
        kind(tmp_path / "file" / "data").start()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
@pytest.mark.parametrize("kind", ["postgres.EmbeddedPostgres", "redis.EmbeddedRedis"])
def test_a_server_dies_with_its_killed_parent(kind: str, tmp_path: Path, postgres: EmbeddedPostgres) -> None:
    postgres.stop()
    module, name = kind.split(".")
    folder = postgres.folder if module == "postgres" else tmp_path
    script = f"""
        import pathlib, time
        from cli.local.{module} import {name}
        server = {name}(pathlib.Path({str(folder)!r}))
        server.start()
        print(server.pid, flush=True)
        time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        server_pid = int(parent.stdout.readline())
        assert psutil.pid_exists(server_pid)
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(server_pid), 10, "the server's end")

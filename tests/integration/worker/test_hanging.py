"""Redis or Postgres hanging under a working service, and going on: all is done in the end, and nobody is blamed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from subprocess import Popen

import pytest
from pydantic import SecretStr
from redis import Redis
from sqlalchemy import func, select

from cli.local.postgres import EmbeddedPostgres
from cli.local.redis import EmbeddedRedis
from core.db.engine import (
    Sessions,
    make_engine,
    make_sessions,
    migrate,
)
from core.db.models import Job
from core.jobs.queue import Publisher, queue_name
from core.settings import (
    DatabaseSettings,
    DispatcherSettings,
    QueueSettings,
    Settings,
)
from core.states import Lane
from tests.freezing import frozen
from tests.image_server import ImageServer
from tests.integration.worker.conftest import StartWorker
from tests.processes import running, stop, wait_until
from tests.records import new_job, open_jobs, outcomes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

HANG_S = 8.0


@contextlib.contextmanager
def dispatcher(settings: Settings, *, must_last: bool = True) -> Iterator[Popen[bytes]]:
    """A dispatcher's process that sweeps often. `must_last`: it must not end by itself."""
    patient = DispatcherSettings(sweep_every_s=0.5, lost_after_s=2)
    with running(settings.model_copy(update={"dispatcher": patient}), "dispatcher") as child:
        yield child
        assert child.poll() is None or not must_last


def assert_nobody_is_blamed(sessions: Sessions) -> None:
    with sessions() as session:
        assert session.scalar(select(func.sum(Job.crashes))) == 0


@pytest.mark.parametrize("lane", [Lane.INTERACTIVE, Lane.BULK])
def test_workers_outlast_a_redis_that_hangs(
    settings: Settings,
    sessions: Sessions,
    redis_server: EmbeddedRedis,
    images: ImageServer,
    start_worker: StartWorker,
    lane: Lane,
) -> None:
    settings = settings.model_copy(update={"queue": QueueSettings(url=SecretStr(redis_server.url))})
    publisher = Publisher(settings)
    with dispatcher(settings), start_worker(settings, lane) as worker:
        before = [new_job(sessions, publisher, images.url(f"/good.jpg?{n}"), lane=lane).id for n in range(200)]
        wait_until(lambda: open_jobs(sessions) < 190, 30, "the first jobs to end")
        with frozen(redis_server):
            during = [new_job(sessions, publisher, images.url(f"/good.jpg?{n}"), lane=lane).id for n in range(10)]
            time.sleep(HANG_S)
            assert open_jobs(sessions) >= 10
        wait_until(lambda: open_jobs(sessions) == 0, 60, "all jobs to end")
        time.sleep(HANG_S)  # idle: nothing comes for longer than a wait on the socket may last
        after = new_job(sessions, publisher, images.url("/good.jpg"), lane=lane).id
        wait_until(lambda: open_jobs(sessions) == 0, 10, "a job that was sent later")
        assert worker.poll() is None
        with Redis.from_url(redis_server.url) as redis:
            wait_until(lambda: redis.llen(queue_name(lane)) == 0, 10, "all messages to be taken")
    assert set(outcomes(sessions, [*before, *during, after])) == {"succeeded"}
    assert_nobody_is_blamed(sessions)
    publisher.close()


@pytest.mark.parametrize("answer_timeout_s", [10.0, 2.0])
def test_worker_and_dispatcher_outlast_a_postgres_that_hangs(
    settings: Settings,
    postgres_server: EmbeddedPostgres,
    images: ImageServer,
    start_worker: StartWorker,
    answer_timeout_s: float,
) -> None:
    record = DatabaseSettings(url=SecretStr(postgres_server.url), answer_timeout_s=answer_timeout_s)
    settings = settings.model_copy(update={"database": record})
    migrate(settings)
    engine, publisher = make_engine(settings), Publisher(settings)
    sessions = make_sessions(engine)
    with dispatcher(settings), start_worker(settings) as worker:
        jobs = [new_job(sessions, publisher, images.url(f"/good.jpg?{n}")).id for n in range(300)]
        wait_until(lambda: open_jobs(sessions) < 290, 30, "the first jobs to end")
        left = open_jobs(sessions)
        with frozen(postgres_server):
            time.sleep(HANG_S)
        wait_until(lambda: open_jobs(sessions) == 0, 60, "all jobs to end")
        assert worker.poll() is None
    assert left > 0
    assert set(outcomes(sessions, jobs)) == {"succeeded"}
    if answer_timeout_s > HANG_S:
        # Else a claim whose commit hung may have taken its job for nobody: such a job waits for the end of its lease.
        assert_nobody_is_blamed(sessions)
    publisher.close()
    engine.dispose()


def test_a_dispatcher_ends_although_postgres_hangs(settings: Settings, postgres_server: EmbeddedPostgres) -> None:
    settings = settings.model_copy(update={"database": DatabaseSettings(url=SecretStr(postgres_server.url))})
    migrate(settings)
    with dispatcher(settings, must_last=False) as child:
        time.sleep(3)  # its connections are open
        with frozen(postgres_server):
            time.sleep(2)  # its loops hang
            assert stop(child, 45) == 0


def test_a_worker_ends_although_redis_hangs(
    settings: Settings, sessions: Sessions, redis_server: EmbeddedRedis, images: ImageServer, start_worker: StartWorker
) -> None:
    own = {"queue": QueueSettings(url=SecretStr(redis_server.url))}
    settings = settings.model_copy(update={**own, "worker": settings.worker.model_copy(update={"grace_s": 10})})
    publisher = Publisher(settings)
    job = new_job(sessions, publisher, images.url("/silent"), lane=Lane.BULK).id
    with start_worker(settings, Lane.BULK) as worker:
        wait_until(lambda: outcomes(sessions, [job]) == ["processing"], 20, "the job to be claimed")
        with frozen(redis_server):
            assert stop(worker, 14) == 0
            assert outcomes(sessions, [job]) == ["queued"]
    assert_nobody_is_blamed(sessions)
    publisher.close()

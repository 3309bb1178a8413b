"""Redis or Postgres going away under a working service, and coming back: nothing is lost, nobody restarts anything."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

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
from core.db.models import Job, Result
from core.jobs.queue import Publisher, unacked_key
from core.settings import (
    DatabaseSettings,
    DispatcherSettings,
    JobSettings,
    QueueSettings,
    Settings,
)
from core.states import Lane
from dispatcher.main import repeat
from dispatcher.sweeper import Sweeper
from tests.image_server import ImageServer
from tests.integration.worker.conftest import StartWorker
from tests.processes import stop, wait_until
from tests.records import new_job, open_jobs, outcomes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

# Shorter than the outages: what holds here holds for minutes with the usual 15 s.
SHORT_LEASES = JobSettings(lease_s=4, renew_every_s=0.7)
OUTAGE_S = 6.0


@contextlib.contextmanager
def sweeping(settings: Settings) -> Iterator[None]:
    """A dispatcher's loop of one's own."""
    engine, publisher, stopping = make_engine(settings), Publisher(settings), threading.Event()
    sweeper = Sweeper(settings, make_sessions(engine), publisher)
    thread = threading.Thread(target=repeat, args=(sweeper.sweep, stopping, 0.2, "sweep"))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
        publisher.close()
        engine.dispose()


def with_own(settings: Settings, **groups: object) -> Settings:
    patient = DispatcherSettings(sweep_every_s=0.2, lost_after_s=2)
    return settings.model_copy(update={"jobs": SHORT_LEASES, "dispatcher": patient, **groups})


@pytest.mark.parametrize("lane", [Lane.INTERACTIVE, Lane.BULK])
def test_workers_find_a_redis_again_that_lost_everything(
    settings: Settings,
    sessions: Sessions,
    redis_server: EmbeddedRedis,
    images: ImageServer,
    start_worker: StartWorker,
    lane: Lane,
) -> None:
    settings = with_own(settings, queue=QueueSettings(url=SecretStr(redis_server.url)))
    publisher = Publisher(settings)
    with sweeping(settings), start_worker(settings, lane):
        before = [new_job(sessions, publisher, images.url(f"/good.jpg?{n}"), lane=lane).id for n in range(200)]
        wait_until(lambda: open_jobs(sessions) < 190, 30, "the first jobs to end")
        redis_server.kill()
        during = [new_job(sessions, publisher, images.url(f"/good.jpg?{n}"), lane=lane).id for n in range(20)]
        time.sleep(OUTAGE_S)
        assert open_jobs(sessions) >= 20
        redis_server.start()
        wait_until(lambda: open_jobs(sessions) == 0, 60, "all jobs to end")
        after = new_job(sessions, publisher, images.url("/good.jpg"), lane=lane).id
        wait_until(lambda: open_jobs(sessions) == 0, 10, "a job that was sent later")
        assert set(outcomes(sessions, [*before, *during, after])) == {"succeeded"}
        with Redis.from_url(redis_server.url) as redis:
            wait_until(lambda: redis.hlen(unacked_key(lane)) == 0, 10, "all messages to be acked")
    with sessions() as session:
        assert session.scalar(select(func.sum(Job.crashes))) == 0
    publisher.close()


@pytest.mark.parametrize("has_noticed", [False, True])
def test_a_worker_without_redis_still_ends_in_order(
    settings: Settings,
    sessions: Sessions,
    redis_server: EmbeddedRedis,
    images: ImageServer,
    start_worker: StartWorker,
    has_noticed: bool,
) -> None:
    settings = with_own(settings, queue=QueueSettings(url=SecretStr(redis_server.url)))
    settings = settings.model_copy(update={"worker": settings.worker.model_copy(update={"grace_s": 6})})
    publisher = Publisher(settings)
    hanging = [new_job(sessions, publisher, images.url(f"/silent?{n}"), lane=Lane.BULK).id for n in range(2)]
    with start_worker(settings, Lane.BULK) as worker:
        wait_until(lambda: outcomes(sessions, hanging) == ["processing"] * 2, 20, "the jobs to be claimed")
        redis_server.kill()
        if has_noticed:
            time.sleep(3)
        assert stop(worker, 10) == 0
    assert outcomes(sessions, hanging) == ["queued"] * 2
    with sessions() as session:
        assert session.scalar(select(func.sum(Job.crashes))) == 0
    publisher.close()


@pytest.mark.parametrize("outage_s", [0.0, OUTAGE_S])
def test_a_postgres_restart_under_load_loses_nothing(
    settings: Settings,
    postgres_server: EmbeddedPostgres,
    images: ImageServer,
    start_worker: StartWorker,
    outage_s: float,
) -> None:
    settings = with_own(settings, database=DatabaseSettings(url=SecretStr(postgres_server.url)))
    migrate(settings)
    engine, publisher = make_engine(settings), Publisher(settings)
    sessions = make_sessions(engine)
    with sweeping(settings), start_worker(settings) as worker:
        jobs = [new_job(sessions, publisher, images.url(f"/good.jpg?{n}")).id for n in range(300)]
        wait_until(lambda: open_jobs(sessions) < 290, 30, "the first jobs to end")
        left = open_jobs(sessions)
        postgres_server.stop()
        time.sleep(outage_s)
        postgres_server.start()
        wait_until(lambda: open_jobs(sessions) == 0, 60, "all jobs to end")
        assert worker.poll() is None
    assert left > 0
    assert set(outcomes(sessions, jobs)) == {"succeeded"}
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(Result)) == 300
        assert session.scalar(select(func.sum(Job.crashes))) == 0, "an outage is nobody's crash"
    publisher.close()
    engine.dispose()

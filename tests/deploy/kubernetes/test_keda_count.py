"""KEDA's count never says "no work" while there is some: under load, at a scale-down, soon after a loss of Redis."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import NoPermissionError
from sqlalchemy import func, select

from cli.local.redis import EmbeddedRedis
from core.db.engine import Sessions
from core.db.models import Job, Result
from core.jobs.queue import Publisher
from core.settings import QueueSettings, Settings
from core.states import Lane
from tests.deploy.kubernetes.keda_count import KedaCount, counting_user
from tests.image_server import ImageServer
from tests.integration.worker.conftest import StartWorker
from tests.processes import running, stop, wait_until
from tests.records import new_job, open_jobs

LOSS_S = 15
"""How long at a stretch KEDA may see nothing after Redis has lost everything."""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A server of the test's own, which forgets everything when it is killed."""
    with EmbeddedRedis(tmp_path / "redis", aof=False) as server:
        yield server


@pytest.fixture
def settings(settings: Settings, redis: EmbeddedRedis) -> Settings:
    """The usual times: lease 15 s, lost after 10 s, a sweep every 2 s."""
    return settings.model_copy(update={"queue": QueueSettings(url=SecretStr(redis.url))})


@pytest.fixture
def pictures() -> Iterator[ImageServer]:
    with ImageServer() as server:
        yield server


class Load:
    """Submits jobs, each with a picture of its own."""

    def __init__(self, sessions: Sessions, publisher: Publisher, pictures: ImageServer) -> None:
        self._sessions = sessions
        self._publisher = publisher
        self._pictures = pictures
        self._numbers = itertools.count()
        self.submitted = 0

    def add(self, jobs: int, lane: Lane, delay_s: float = 0) -> None:
        for number in itertools.islice(self._numbers, jobs):
            new_job(self._sessions, self._publisher, self._pictures.url(f"/slow/{delay_s}/{number}"), lane=lane)
        self.submitted += jobs


@pytest.fixture
def load(sessions: Sessions, publisher: Publisher, pictures: ImageServer) -> Load:
    return Load(sessions, publisher, pictures)


def test_the_counting_user_can_count_and_nothing_else(redis: EmbeddedRedis) -> None:
    with Redis.from_url(redis.url) as admin:
        admin.lpush("enrich", "a", "b")
        admin.hset("enrich.unacked", "tag", "message")
        with Redis.from_url(counting_user(redis.url)) as keda:
            assert keda.ping()
            assert keda.eval("return redis.call('llen', KEYS[1])", 1, "enrich") == 2
            assert keda.eval("return redis.call('hlen', KEYS[1])", 1, "enrich.unacked") == 1
            for command in (("RPOP", "enrich"), ("HGETALL", "enrich.unacked"), ("LLEN", "other"), ("FLUSHALL",)):
                with pytest.raises(NoPermissionError):
                    keda.execute_command(*command)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_count_is_never_zero_while_a_job_is_unfinished_but_for_a_loss_of_redis(
    settings: Settings,
    sessions: Sessions,
    redis: EmbeddedRedis,
    load: Load,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    with (
        both_lanes(settings, start_worker),
        running(settings, "dispatcher", log=tmp_path / "dispatcher.log"),
        KedaCount(redis.url, sessions) as keda,
    ):
        # Given lists that fill and run empty, and slow pictures that only the hashes of what is in flight tell of
        for lane in Lane:
            load.add(40, lane)
            load.add(2, lane, delay_s=4)
        wait_until(lambda: open_jobs(sessions) == 0, 30, "the round to end")
        gaps_s = keda.gaps_s()
        assert gaps_s[len(gaps_s) // 2] <= 0.1
        assert all(any((each.count or 0) > 2 for each in keda.polls if each.lane is lane) for lane in Lane)
        assert keda.blind_pairs() == []
        # When Redis dies with all that waits in it
        load.add(80, Lane.INTERACTIVE, delay_s=1)
        load.add(40, Lane.BULK, delay_s=0.2)
        redis.kill()
        lost = time.monotonic()
        redis.start()
        counting_user(redis.url)
        # Then the dispatcher publishes it again, and KEDA sees it in time
        wait_until(lambda: open_jobs(sessions) == 0, 60, "all jobs to end")
    blind_s = keda.longest_blind_s(since=lost)
    print(f"{len(keda.polls)} polls, after the loss of Redis blind for {blind_s:.1f} s")
    assert 1 < blind_s <= LOSS_S, "and the loss was one"
    _assert_each_is_answered_once(sessions, load)


@contextlib.contextmanager
def both_lanes(settings: Settings, start_worker: StartWorker) -> Iterator[None]:
    """A worker for each lane; they start side by side."""
    with contextlib.ExitStack() as stack, ThreadPoolExecutor() as pool:
        list(pool.map(lambda lane: stack.enter_context(start_worker(settings, lane)), Lane))
        yield


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_scale_down_under_load_loses_and_repeats_nothing_and_is_never_mistaken_for_the_end_of_work(
    settings: Settings, sessions: Sessions, redis: EmbeddedRedis, load: Load, start_worker: StartWorker
) -> None:
    """One of two workers gets SIGTERM, as from Kubernetes, with the grace that the manifests give it."""
    grace_s, kubernetes_waits_s = 80, 100
    settings = settings.model_copy(update={"worker": settings.worker.model_copy(update={"grace_s": grace_s})})
    with (
        start_worker(settings, "interactive") as goes,
        start_worker(settings, "interactive"),
        KedaCount(redis.url, sessions) as keda,
    ):
        load.add(40, Lane.INTERACTIVE, delay_s=5)
        load.add(150, Lane.INTERACTIVE)
        wait_until(lambda: open_jobs(sessions) < 188, 20, "the first jobs to end")
        started = time.monotonic()
        assert stop(goes, kubernetes_waits_s) == 0
        took_s = time.monotonic() - started
        wait_until(lambda: open_jobs(sessions) == 0, 60, "the other worker to do the rest")
    print(f"drained in {took_s:.1f} s of {kubernetes_waits_s} s")
    assert took_s < grace_s / 2, "what had begun was let end, and nothing had to be given back half-way"
    assert keda.blind_pairs() == []
    _assert_each_is_answered_once(sessions, load)


def _assert_each_is_answered_once(sessions: Sessions, load: Load) -> None:
    with sessions() as session:
        statuses = set(session.scalars(select(Job.status)))
        answers = session.scalar(select(func.count()).select_from(Result))
        repeated = session.scalar(select(func.sum(Job.crashes)))
    assert statuses == {"succeeded"}
    assert (answers, repeated) == (load.submitted, 0)

"""The sweeper on real servers: what it publishes again, and that it leaves a healthy backlog alone."""

from __future__ import annotations

import base64
import datetime as dt
import json
import threading
import time
import uuid

import pytest
from redis import Redis
from sqlalchemy import func, insert, select, update

from core.db.engine import Sessions
from core.db.models import Job
from core.errors import FetchTimeout
from core.jobs import lifecycle
from core.jobs.queue import Publisher, queue_name
from core.settings import JobSettings, Settings
from core.states import Lane, Status
from core.telemetry.metrics import DispatcherMetrics
from dispatcher.main import repeat
from dispatcher.sweeper import SWEEP_LOCK, Sweeper, SweepResult
from tests.records import claim_job, new_job, read_job


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics() -> DispatcherMetrics:
    return DispatcherMetrics()


@pytest.fixture
def sweeper(
    settings: Settings, sessions: Sessions, publisher: Publisher, clock: Clock, metrics: DispatcherMetrics
) -> Sweeper:
    return Sweeper(settings, sessions, publisher, clock, metrics)


def make_older(sessions: Sessions, seconds: float, *job_ids: uuid.UUID) -> None:
    """Moves the moment at which the jobs were published into the past."""
    with sessions.begin() as session:
        older = Job.published_at - dt.timedelta(seconds=seconds)
        session.execute(update(Job).where(Job.id.in_(job_ids)).values(published_at=older))


def length(settings: Settings, lane: Lane = Lane.INTERACTIVE) -> int:
    with Redis.from_url(settings.queue.url.get_secret_value()) as redis:
        return int(redis.llen(queue_name(lane)))


def wipe(settings: Settings) -> None:
    with Redis.from_url(settings.queue.url.get_secret_value()) as redis:
        redis.flushall()


def queued(settings: Settings, lane: Lane) -> list[str]:
    """The job ids of every message in a lane's list."""
    with Redis.from_url(settings.queue.url.get_secret_value()) as redis:
        messages = [json.loads(text) for text in redis.lrange(queue_name(lane), 0, -1)]
    bodies = [json.loads(base64.b64decode(message["body"])) for message in messages]
    return [job_id for arguments, *_ in bodies for job_id in arguments[0]]


def test_a_healthy_backlog_is_left_alone_however_old(
    settings: Settings, sessions: Sessions, publisher: Publisher, sweeper: Sweeper, clock: Clock
) -> None:
    jobs = [new_job(sessions, publisher) for _ in range(30)]
    # The message at the tail is the oldest of all that are queued: nothing can be older than it, and lost.
    for _ in range(5):
        clock.now_s += 60
        assert sweeper.sweep() == SweepResult()
    assert length(settings) == len(jobs)


def test_a_wiped_queue_is_filled_again_once(
    settings: Settings, sessions: Sessions, publisher: Publisher, sweeper: Sweeper, clock: Clock
) -> None:
    jobs = [new_job(sessions, publisher).id for _ in range(7)]
    bulk = [new_job(sessions, publisher, lane=Lane.BULK).id for _ in range(100)]
    make_older(sessions, 30, *jobs, *bulk)
    wipe(settings)
    assert sweeper.sweep() == SweepResult(), "the list may have been emptied by a worker just now"
    clock.now_s += settings.dispatcher.lost_after_s + 1
    assert sweeper.sweep() == SweepResult(published=107)
    assert (length(settings), length(settings, Lane.BULK)) == (7, 2)
    clock.now_s += 60
    assert sweeper.sweep() == SweepResult()


def test_twenty_thousand_waiting_jobs_are_left_alone_and_sent_once_when_redis_lost_them(
    settings: Settings, sessions: Sessions, publisher: Publisher, sweeper: Sweeper, clock: Clock
) -> None:
    job_ids = [uuid.uuid4() for _ in range(20_000)]
    first = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    for start in range(0, len(job_ids), 64):
        chunk, at = job_ids[start : start + 64], first + dt.timedelta(seconds=start / 64)
        rows = [
            {"id": job, "owner_id": "o", "lane": Lane.BULK, "address": "https://a/b", "published_at": at}
            for job in chunk
        ]
        with sessions.begin() as session:
            session.execute(insert(Job), rows)
        publisher.publish(chunk, Lane.BULK, at)
    for _ in range(3):
        clock.now_s += 60
        assert sweeper.sweep() == SweepResult()

    wipe(settings)
    assert sweeper.sweep() == SweepResult()
    clock.now_s += settings.dispatcher.lost_after_s + 1
    sent = 0
    while published := sweeper.sweep().published:
        sent += published
        clock.now_s += settings.dispatcher.sweep_every_s
    assert sent == len(job_ids)
    assert sorted(queued(settings, Lane.BULK)) == sorted(map(str, job_ids))


def test_a_row_older_than_the_tail_is_lost(
    settings: Settings, sessions: Sessions, publisher: Publisher, sweeper: Sweeper
) -> None:
    lost = new_job(sessions, publisher)
    make_older(sessions, 60, lost.id)
    wipe(settings)
    new_job(sessions, publisher)
    assert sweeper.sweep() == SweepResult(published=1)
    assert sweeper.sweep() == SweepResult()
    assert length(settings) == 2


def test_what_could_not_be_published_is_sent_when_redis_is_back(
    settings: Settings, sessions: Sessions, sweeper: Sweeper
) -> None:
    nowhere = settings.model_copy(update={"queue": settings.queue.model_validate({"url": "redis://127.0.0.1:1/0"})})
    publisher = Publisher(nowhere)
    job = new_job(sessions, publisher)
    publisher.close()
    assert read_job(sessions, job.id).published_at is None
    assert sweeper.sweep() == SweepResult(published=1)
    assert length(settings) == 1


def test_an_expired_lease_is_freed_and_published(
    settings: Settings, sessions: Sessions, publisher: Publisher, sweeper: Sweeper
) -> None:
    job = new_job(sessions, publisher)
    claim_job(sessions, job.id, lease_s=0)
    wipe(settings)
    assert sweeper.sweep() == SweepResult(requeued=1, published=1)
    row = read_job(sessions, job.id)
    assert (row.status, row.crashes) == (Status.QUEUED, 1)
    assert length(settings) == 1


def test_a_job_that_ends_its_workers_is_poison(
    settings: Settings, sessions: Sessions, publisher: Publisher, sweeper: Sweeper, metrics: DispatcherMetrics
) -> None:
    job = new_job(sessions, publisher)
    for _ in range(settings.jobs.max_crashes):
        assert claim_job(sessions, job.id, lease_s=0)
        sweeper.sweep()
    row = read_job(sessions, job.id)
    assert row.status == Status.FAILED
    assert row.error is not None
    assert row.error["code"] == "poison"
    # The worker that would have counted it is dead.
    counted = metrics.registry.collectors.get_sample_value
    assert counted("enrich_jobs_poisoned_total") == 1
    assert counted("enrich_jobs_expired_total") == settings.jobs.max_crashes


def test_a_retry_is_published_when_it_is_due(
    settings: Settings, sessions: Sessions, publisher: Publisher, sweeper: Sweeper
) -> None:
    job = new_job(sessions, publisher)
    claim = claim_job(sessions, job.id)
    wipe(settings)
    assert claim is not None
    with sessions.begin() as session:
        lifecycle.fail_or_retry(session, claim, FetchTimeout("no answer in time"), JobSettings(retry_base_s=0.3))
    assert sweeper.sweep() == SweepResult()
    time.sleep(0.5)
    assert sweeper.sweep() == SweepResult(published=1)
    assert claim_job(sessions, job.id) is not None


def test_a_worker_that_is_quicker_than_the_dispatcher_gets_the_job(
    settings: Settings, sessions: Sessions, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle worker has the message before `publish` has even returned."""
    job = new_job(sessions, publisher)
    wipe(settings)
    with sessions.begin() as session:
        session.execute(update(Job).where(Job.id == job.id).values(published_at=None))
    claims = []
    send = publisher.publish

    def publish_and_claim(job_ids: list[uuid.UUID], lane: Lane, published_at: dt.datetime) -> None:
        send(job_ids, lane, published_at)
        claims.extend(claim_job(sessions, job_id) for job_id in job_ids)

    monkeypatch.setattr(publisher, "publish", publish_and_claim)
    assert Sweeper(settings, sessions, publisher).sweep() == SweepResult(published=1)
    assert [claim.id for claim in claims if claim] == [job.id]


def test_only_one_dispatcher_sweeps(sessions: Sessions, sweeper: Sweeper) -> None:
    with sessions.begin() as other:
        other.execute(select(func.pg_advisory_xact_lock(SWEEP_LOCK)))
        assert sweeper.sweep() is None
    assert sweeper.sweep() == SweepResult()


def test_the_loop_outlives_a_missing_redis(settings: Settings, sessions: Sessions) -> None:
    nowhere = settings.model_copy(update={"queue": settings.queue.model_validate({"url": "redis://127.0.0.1:1/0"})})
    publisher = Publisher(nowhere)
    stopping = threading.Event()
    thread = threading.Thread(
        target=repeat, args=(Sweeper(nowhere, sessions, publisher).sweep, stopping, 0.01, "sweep")
    )
    thread.start()
    time.sleep(0.2)
    assert thread.is_alive()
    stopping.set()
    thread.join(5)
    publisher.close()
    assert not thread.is_alive()

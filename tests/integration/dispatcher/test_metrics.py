"""The dispatcher's metrics, scraped from real processes: the state of queue and record, its own work; its heartbeat."""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from pydantic import SecretStr
from redis import Redis
from sqlalchemy import func, select, update
from urllib3.exceptions import NewConnectionError

from cli.local.postgres import EmbeddedPostgres
from cli.local.redis import EmbeddedRedis
from core.db.engine import (
    Sessions,
    make_engine,
    make_sessions,
    migrate,
)
from core.db.models import Job
from core.db.webhook_models import WebhookDelivery, WebhookEndpoint
from core.errors import FetchTimeout
from core.jobs import lifecycle
from core.jobs.queue import Publisher, unacked_key
from core.settings import (
    DatabaseSettings,
    DispatcherSettings,
    JobSettings,
    MetricsSettings,
    QueueSettings,
    Settings,
    WebhookSettings,
)
from core.states import Lane
from core.telemetry.heartbeat import Heartbeat
from core.telemetry.metrics import (
    ENDPOINT_STATES,
    LANES,
    SWEEP_OUTCOMES,
    DispatcherMetrics,
)
from dispatcher.gauges import StateGauges
from dispatcher.liveness import Liveness
from dispatcher.sweeper import SWEEP_LOCK, Sweeper
from tests.integration.dispatcher.test_sweeper import Clock, make_older, wipe
from tests.ports import free_port
from tests.processes import running, wait_until
from tests.records import claim_job, finish_job, new_job
from tests.scraper import Scraped, assert_usual, is_unknown, read, scrape
from tests.webhook_receiver import Receiver, answer
from tests.webhook_records import ended_job, new_endpoint


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return with_metrics(settings, tmp_path / "heartbeat")


def with_metrics(settings: Settings, heartbeat: Path | None = None) -> Settings:
    dispatcher = DispatcherSettings(sweep_every_s=0.2, lost_after_s=2, heartbeat_file=heartbeat)
    metrics, webhooks = MetricsSettings(port=free_port()), WebhookSettings(timeout_s=1)
    return settings.model_copy(update={"dispatcher": dispatcher, "metrics": metrics, "webhooks": webhooks})


def ask(settings: Settings) -> Scraped:
    return scrape(f"http://127.0.0.1:{settings.metrics.port}")


def wait_for(settings: Settings, is_so: Callable[[Scraped], bool], what: str, timeout_s: float = 25) -> Scraped:
    """The first scrape of which it is so; a process that does not listen yet is waited for."""
    found: list[Scraped] = []

    def look() -> bool:
        with contextlib.suppress(NewConnectionError):
            found.append(ask(settings))
        return bool(found) and is_so(found[-1])

    wait_until(look, timeout_s, what)
    return found[-1]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def test_the_state_of_queue_and_record_is_told(
    settings: Settings, sessions: Sessions, publisher: Publisher, tmp_path: Path
) -> None:
    waiting = [new_job(sessions, publisher).id for _ in range(5)]
    bulk = [new_job(sessions, publisher, lane=Lane.BULK).id for _ in range(3)]
    wait_longer(sessions, 40, waiting[2])
    assert claim_job(sessions, bulk[0], lease_s=600)
    with Redis.from_url(settings.queue.url.get_secret_value()) as redis:
        redis.hset(unacked_key(Lane.BULK), "tag", "a message")
    new_endpoint(sessions, "http://127.0.0.1:9/")
    new_endpoint(sessions, "http://127.0.0.1:9/off", is_enabled=False)

    with running(settings, "dispatcher", log=tmp_path / "log"):
        heartbeat = settings.dispatcher.heartbeat_file
        assert heartbeat is not None
        wait_until(heartbeat.exists, 20, "the heartbeat")
        scraped = wait_for(settings, lambda now: now.value("enrich_webhook_pending") == 0, "a reading of both")

        assert_usual(scraped, "dispatcher")
        assert scraped.above_0("enrich_queue_depth") == {("interactive",): 5, ("bulk",): 3}
        assert scraped.value("enrich_queue_in_flight", lane="bulk") == 1
        assert scraped.value("enrich_queue_in_flight", lane="interactive") == 0
        assert 40 <= scraped.value("enrich_queue_oldest_seconds", lane="interactive") < 70
        assert 0 <= scraped.value("enrich_queue_oldest_seconds", lane="bulk") < 30
        assert scraped.above_0("enrich_jobs") == {
            ("interactive", "queued"): 5,
            ("bulk", "queued"): 2,
            ("bulk", "processing"): 1,
        }
        assert {each["state"]: scraped.value("enrich_webhook_endpoints", **each) for each in STATES} == {
            "well": 1,
            "failing": 0,
            "disabled": 1,
        }
        assert scraped.value("enrich_webhook_pending") == 0
        assert scraped.value("enrich_webhook_lag_seconds") == 0
        assert scraped.label("enrich_queue_depth", "lane") == set(LANES)
        assert scraped.label("enrich_sweeps_total", "outcome") == set(SWEEP_OUTCOMES)
        assert scraped.label("enrich_webhook_endpoints", "state") == set(ENDPOINT_STATES)
        wait_for(settings, lambda now: now.value("enrich_sweeps_total", outcome="ok") >= 3, "three sweeps")
    assert not heartbeat.exists(), "an orderly end takes it away"


STATES = [{"state": state} for state in ENDPOINT_STATES]


def test_attempts_at_webhooks_are_counted(
    settings: Settings, sessions: Sessions, receiver: Receiver, tmp_path: Path
) -> None:
    new_endpoint(sessions, receiver.url("/good"))
    refusing = Receiver(answer(503))
    with refusing:
        new_endpoint(sessions, refusing.url("/bad"))
        with running(settings, "dispatcher", log=tmp_path / "log"):
            for _ in range(3):
                ended_job(sessions)
            scraped = wait_for(
                settings,
                lambda now: (
                    now.value("enrich_webhook_attempts_total", outcome="delivered") == 3
                    and now.value("enrich_webhook_attempts_total", outcome="failed") >= 1
                    and now.value("enrich_webhook_endpoints", state="failing") == 1
                ),
                "the attempts",
            )
    assert scraped.value("enrich_webhook_endpoints", state="well") == 1
    assert scraped.value("enrich_webhook_pending") == 3, "the refusing endpoint's"
    assert scraped.value("enrich_webhook_lag_seconds") == 0, "a failing endpoint is no lag of ours"
    attempts = sum(scraped.above_0("enrich_webhook_attempts_total").values())
    assert scraped.value("enrich_webhook_attempt_seconds_count") == attempts


def test_two_dispatchers_both_tell_and_one_sweeps(
    settings: Settings, sessions: Sessions, publisher: Publisher, tmp_path: Path
) -> None:
    new_job(sessions, publisher)
    other = with_metrics(settings)
    with running(settings, "dispatcher", log=tmp_path / "log"), running(other, "dispatcher", log=tmp_path / "log"):
        for each in (settings, other):
            wait_for(each, lambda now: True, "its listener")
        with sessions.begin() as session:
            session.execute(select(func.pg_advisory_xact_lock(SWEEP_LOCK)))
            for each in (settings, other):
                wait_for(each, lambda now: now.value("enrich_sweeps_total", outcome="skipped") > 0, "a skipped sweep")
                wait_for(each, lambda now: now.value("enrich_queue_depth", lane="interactive") == 1, "its gauges")


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_what_cannot_be_read_is_unknown_until_it_can_be_again(settings: Settings, tmp_path: Path) -> None:
    with (
        EmbeddedRedis(tmp_path / "redis", aof=False) as redis,
        EmbeddedPostgres(tmp_path / "postgres", durable=False) as postgres,
    ):
        queue, database = QueueSettings(url=SecretStr(redis.url)), DatabaseSettings(url=SecretStr(postgres.url))
        settings = settings.model_copy(update={"queue": queue, "database": database})
        migrate(settings)
        engine, publisher = make_engine(settings), Publisher(settings)
        with running(settings, "dispatcher", log=tmp_path / "log") as dispatcher:
            new_job(make_sessions(engine), publisher)
            wait_for(settings, lambda now: now.value("enrich_queue_depth", lane="interactive") == 1, "the job")

            redis.kill()
            gone = wait_for(
                settings,
                lambda now: is_unknown(now.value("enrich_queue_depth", lane="interactive")),
                "Redis to be missed",
            )
            assert gone.value("enrich_jobs", lane="interactive", status="queued") == 1, "Postgres is there"
            assert gone.value("enrich_sweeps_total", outcome="failed") > 0
            redis.start()
            wait_for(settings, lambda now: now.value("enrich_queue_depth", lane="interactive") >= 0, "Redis")

            postgres.stop()
            gone = wait_for(
                settings, lambda now: is_unknown(now.value("enrich_webhook_pending")), "Postgres to be missed", 40
            )
            assert is_unknown(gone.value("enrich_jobs", lane="interactive", status="queued"))
            assert is_unknown(gone.value("enrich_queue_oldest_seconds", lane="bulk"))
            postgres.start()
            back = wait_for(settings, lambda now: now.value("enrich_webhook_pending") == 0, "Postgres", 40)
            assert back.value("enrich_jobs", lane="interactive", status="queued") == 1
            assert dispatcher.poll() is None
        publisher.close()
        engine.dispose()


def test_a_taken_port_ends_the_start_with_a_sentence(settings: Settings, receiver: Receiver, tmp_path: Path) -> None:
    own = settings.model_copy(update={"metrics": MetricsSettings(port=receiver.port)})
    with running(own, "dispatcher", log=tmp_path / "log") as dispatcher:
        assert dispatcher.wait(30) == 2
    text = (tmp_path / "log").read_text()
    assert f"enrich: Metrics cannot be served on port {receiver.port} of 127.0.0.1" in text
    assert "ENRICH_METRICS__PORT" in text
    assert "Traceback" not in text


class Read:
    """A sweeper and gauges in this process, with separate metrics."""

    def __init__(self, settings: Settings, sessions: Sessions, publisher: Publisher) -> None:
        self.metrics, self.clock = DispatcherMetrics(), Clock()
        self.gauges = StateGauges(self.metrics, sessions, publisher, self.clock)
        self.sweeper = Sweeper(settings, sessions, publisher, self.clock, self.metrics)

    def now(self) -> Scraped:
        return read(generate_latest(self.metrics.registry.collectors).decode())


@pytest.fixture
def here(settings: Settings, sessions: Sessions, publisher: Publisher) -> Read:
    return Read(settings, sessions, publisher)


def test_lost_retried_and_expired_jobs_are_told_apart(
    settings: Settings, sessions: Sessions, publisher: Publisher, here: Read
) -> None:
    lost = [new_job(sessions, publisher).id for _ in range(4)]
    make_older(sessions, 30, *lost)
    died = new_job(sessions, publisher, lane=Lane.BULK).id
    assert claim_job(sessions, died, lease_s=0)
    claim = claim_job(sessions, new_job(sessions, publisher, lane=Lane.BULK).id)
    assert claim
    with sessions.begin() as session:
        lifecycle.fail_or_retry(session, claim, FetchTimeout("late"), JobSettings(retry_base_s=0.001))
    wipe(settings)
    here.sweeper.sweep()
    here.clock.now_s += settings.dispatcher.lost_after_s + 1
    here.sweeper.sweep()
    now = here.now()
    assert now.value("enrich_jobs_republished_total") == 4
    assert now.value("enrich_jobs_expired_total") == 1
    assert now.value("enrich_sweeps_total", outcome="ok") == 2


def test_the_oldest_job_is_the_oldest_that_is_due(sessions: Sessions, publisher: Publisher, here: Read) -> None:
    def oldest() -> float:
        here.gauges.refresh()
        return here.now().value("enrich_queue_oldest_seconds", lane="interactive")

    assert oldest() == 0
    later = claim_job(sessions, new_job(sessions, publisher).id)
    assert later
    with sessions.begin() as session:
        lifecycle.fail_or_retry(session, later, FetchTimeout("late"), JobSettings(retry_base_s=3600, retry_max_s=3600))
    assert oldest() == 0, "it waits for another try"
    wait_longer(sessions, 2 * 3600, later.id)
    # Within ± 25 % of an hour: two hours since it was put back, without the wait that was meant.
    assert 2700 <= oldest() <= 4530, "since it is due"
    other = new_job(sessions, publisher)
    wait_longer(sessions, 300, other.id)
    claim = claim_job(sessions, later.id)
    assert claim
    assert 300 <= oldest() < 330, "what a worker holds does not wait"
    with sessions.begin() as session:
        assert lifecycle.release(session, claim)
    assert 300 <= oldest() < 330, "what was given back waits from then on"
    claim = claim_job(sessions, other.id)
    assert claim
    assert finish_job(sessions, claim)
    assert oldest() < 30


def test_an_outage_of_redis_does_not_make_what_waits_young(
    settings: Settings, sessions: Sessions, publisher: Publisher, here: Read
) -> None:
    def oldest() -> float:
        here.gauges.refresh()
        return here.now().value("enrich_queue_oldest_seconds", lane="interactive")

    job = new_job(sessions, publisher)
    make_older(sessions, 2 * 3600, job.id)
    wait_longer(sessions, 2 * 3600, job.id)
    wipe(settings)
    here.sweeper.sweep()
    here.clock.now_s += settings.dispatcher.lost_after_s + 1
    assert here.sweeper.sweep().published == 1
    assert 7200 <= oldest() < 7230
    # Whoever asks for it again begins anew.
    claim = claim_job(sessions, job.id)
    assert claim
    with sessions.begin() as session:
        lifecycle.fail(session, claim, FetchTimeout("late"))
        lifecycle.retry(session, job.owner_id, [job.id], dt.datetime.now(dt.UTC))
    assert oldest() < 30
    # So does one whose worker died.
    assert claim_job(sessions, job.id, lease_s=0)
    wait_longer(sessions, 2 * 3600, job.id)
    here.sweeper.sweep()
    assert oldest() < 30


def wait_longer(sessions: Sessions, seconds: float, *job_ids: uuid.UUID) -> None:
    """Moves the moment since which the jobs wait, and that at which they are due, into the past."""
    earlier = dt.timedelta(seconds=seconds)
    with sessions.begin() as session:
        session.execute(
            update(Job)
            .where(Job.id.in_(job_ids))
            .values(queued_at=Job.queued_at - earlier, next_attempt_at=Job.next_attempt_at - earlier)
        )


def test_the_lag_is_that_of_endpoints_that_are_well(sessions: Sessions, here: Read) -> None:
    well, failing, off = (new_endpoint(sessions, f"http://127.0.0.1:9/{name}") for name in ("well", "failing", "off"))
    ended_job(sessions)
    late = {well: 30, failing: 3000, off: 9000}
    with sessions.begin() as session:
        for endpoint_id, seconds in late.items():
            due = func.now() - dt.timedelta(seconds=seconds)
            session.execute(
                update(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint_id).values(next_attempt_at=due)
            )
        session.execute(
            update(WebhookEndpoint).where(WebhookEndpoint.id == failing).values(failures=1, failing_since=func.now())
        )
        session.execute(update(WebhookEndpoint).where(WebhookEndpoint.id == off).values(is_enabled=False))
    here.gauges.refresh()
    assert 30 <= here.now().value("enrich_webhook_lag_seconds") < 60
    assert here.now().value("enrich_webhook_pending") == 3
    with sessions.begin() as session:
        session.execute(update(WebhookDelivery).values(claimed_until=func.now() + dt.timedelta(minutes=1)))
    here.gauges.refresh()
    assert here.now().value("enrich_webhook_lag_seconds") == 0, "what is being attempted does not wait"


def test_a_reading_that_hangs_is_unknown_in_the_end(here: Read) -> None:
    here.gauges.refresh()
    assert here.now().value("enrich_webhook_pending") == 0
    here.clock.now_s += 60
    assert is_unknown(here.now().value("enrich_webhook_pending"))
    assert is_unknown(here.now().value("enrich_queue_depth", lane="bulk"))


def test_the_heart_stops_for_a_loop_that_hangs_and_not_for_one_that_rests(tmp_path: Path) -> None:
    clock = Clock()
    liveness = Liveness(Heartbeat(tmp_path / "heartbeat"), {"purge": 1000}, clock)
    with liveness.round("purge"):
        with liveness.round("sweep"):
            clock.now_s += 59
            assert liveness.is_healthy()
            clock.now_s += 2
            assert not liveness.is_healthy()
        clock.now_s += 100
        assert liveness.is_healthy(), "its rounds may take long"
    clock.now_s += 10_000
    assert liveness.is_healthy(), "nothing is being done"

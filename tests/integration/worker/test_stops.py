"""How a worker ends: killed, told to stop, or given up on by a server it asks."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import func, select

from core.db.engine import Sessions
from core.db.models import Job, Result
from core.jobs.queue import Publisher, queue_name, unacked_key
from core.settings import JobSettings, Settings
from core.states import Lane, Status
from dispatcher.sweeper import Sweeper
from tests.image_server import ImageServer
from tests.integration.worker.conftest import StartWorker
from tests.processes import running, stop, wait_for_file, wait_until
from tests.records import new_job, open_jobs, outcomes, read_job

QUICK_LEASES = JobSettings(lease_s=3, renew_every_s=0.5, retry_base_s=0.05)


def test_a_failing_server_is_asked_again_and_then_given_up(
    settings: Settings, sessions: Sessions, publisher: Publisher, images: ImageServer, start_worker: StartWorker
) -> None:
    settings = settings.model_copy(update={"jobs": QUICK_LEASES})
    job = new_job(sessions, publisher, images.url("/status/503"))
    sweeper = Sweeper(settings, sessions, publisher)
    with start_worker(settings):
        wait_until(lambda: sweeper.sweep() is not None and open_jobs(sessions) == 0, 30, "the job to be given up")
    assert outcomes(sessions, [job.id]) == ["fetch_failed"]
    assert len(images.requests) == settings.jobs.max_retries + 1


def test_a_killed_worker_s_jobs_are_taken_up_by_the_next(
    settings: Settings, sessions: Sessions, publisher: Publisher, images: ImageServer, start_worker: StartWorker
) -> None:
    settings = settings.model_copy(update={"jobs": QUICK_LEASES})
    job = new_job(sessions, publisher, images.url("/silent"))
    good = [new_job(sessions, publisher, images.url("/good.jpg")).id for _ in range(5)]
    with start_worker(settings) as worker:
        wait_until(lambda: read_job(sessions, job.id).status == Status.PROCESSING, 20, "the job to be claimed")
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    with sessions.begin() as session:
        session.get_one(Job, job.id).address = images.url("/good.jpg")
    sweeper = Sweeper(settings, sessions, publisher)
    with start_worker(settings):
        wait_until(lambda: sweeper.sweep() is not None and open_jobs(sessions) == 0, 60, "the jobs to be taken up")
    assert outcomes(sessions, [job.id, *good]) == ["succeeded"] * 6
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(Result)) == 6, "each answer is written once"


@pytest.mark.slow
def test_at_the_usual_settings_a_killed_worker_s_jobs_run_again_within_25_s(
    settings: Settings, sessions: Sessions, publisher: Publisher, images: ImageServer, start_worker: StartWorker
) -> None:
    """Lease 15 s, sweep every 2 s; the other worker stands by."""
    patient = settings.fetch.model_copy(update={"read_timeout_s": 300, "total_timeout_s": 300})
    settings = settings.model_copy(update={"fetch": patient})
    job = new_job(sessions, publisher, images.url("/silent"))
    sweeper = Sweeper(settings, sessions, publisher)
    with start_worker(settings) as worker:
        wait_until(lambda: read_job(sessions, job.id).status == Status.PROCESSING, 20, "the job to be claimed")
        with start_worker(settings):
            time.sleep(settings.jobs.renew_every_s)  # the lease was just renewed: the longest wait
            os.kill(worker.pid, signal.SIGKILL)
            killed = time.monotonic()
            worker.wait()

            def is_running_again() -> bool:
                sweeper.sweep()
                time.sleep(settings.dispatcher.sweep_every_s)
                return read_job(sessions, job.id).attempt == 2

            wait_until(is_running_again, 40, "the job to be claimed again")
            took = time.monotonic() - killed
    print(f"running again after {took:.1f} s")
    assert took < 25


@pytest.mark.parametrize("lane", ["interactive", "bulk"])
def test_a_worker_that_is_told_to_stop_loses_and_repeats_nothing(
    settings: Settings,
    sessions: Sessions,
    publisher: Publisher,
    images: ImageServer,
    start_worker: StartWorker,
    lane: str,
) -> None:
    addresses = [images.url(f"/good.jpg?{number}") for number in range(300)]
    jobs = [new_job(sessions, publisher, address, lane=Lane(lane)).id for address in addresses]
    with start_worker(settings, lane) as worker:
        wait_until(lambda: open_jobs(sessions) < 290, 20, "the first jobs to end")
        assert stop(worker) == 0
    left = open_jobs(sessions)
    with sessions() as session:
        assert not session.scalar(select(func.count()).where(Job.status == Status.PROCESSING))
    with start_worker(settings, lane):
        wait_until(lambda: open_jobs(sessions) == 0, 40, "all jobs to end")
    assert set(outcomes(sessions, jobs)) == {"succeeded"}
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(Result)) == 300
        assert not session.scalar(select(func.sum(Job.crashes))), f"nothing was repeated ({left} jobs were left)"


def test_a_worker_that_has_grown_too_large_ends_in_order(
    settings: Settings, sessions: Sessions, publisher: Publisher, images: ImageServer, start_worker: StartWorker
) -> None:
    settings = settings.model_copy(update={"worker": settings.worker.model_copy(update={"max_rss_mib": 100})})
    jobs = [new_job(sessions, publisher, images.url(f"/good.jpg?large={number}")).id for number in range(20)]
    with start_worker(settings) as worker:
        assert worker.wait(30) == 0
    rows = [read_job(sessions, job_id) for job_id in jobs]
    assert {row.status for row in rows} <= {"queued", "succeeded"}
    assert {(row.crashes, row.retries) for row in rows} == {(0, 0)}


@pytest.mark.parametrize("lane", [Lane.INTERACTIVE, Lane.BULK])
def test_jobs_that_hang_on_a_silent_server_are_given_back_within_the_grace(
    settings: Settings,
    sessions: Sessions,
    publisher: Publisher,
    images: ImageServer,
    start_worker: StartWorker,
    lane: Lane,
) -> None:
    settings = settings.model_copy(update={"worker": settings.worker.model_copy(update={"grace_s": 6})})
    jobs = [new_job(sessions, publisher, images.url(f"/silent?{number}"), lane=lane).id for number in range(5)]
    good = new_job(sessions, publisher, images.url("/good.jpg"), lane=lane).id
    begun = 2 if lane is Lane.BULK else 5  # messages in progress at once
    with start_worker(settings, lane) as worker:
        wait_until(lambda: outcomes(sessions, jobs).count("processing") == begun, 20, "the jobs to be claimed")
        started = time.monotonic()
        assert stop(worker) == 0
        assert 2 < time.monotonic() - started < 6, "after half of the grace, and before its end"
    rows = [read_job(sessions, job_id) for job_id in jobs]
    assert {(row.status, row.crashes, row.retries) for row in rows} == {("queued", 0, 0)}
    is_done = read_job(sessions, good).status == Status.SUCCEEDED
    with Redis.from_url(settings.queue.url.get_secret_value()) as redis:
        assert redis.llen(queue_name(lane)) == 6 - is_done, "each is published again, once"
        assert redis.hlen(unacked_key(lane)) == 0, "all that was taken is acked"


def test_a_chunk_that_takes_too_long_fails_only_what_has_not_ended(
    settings: Settings, sessions: Sessions, publisher: Publisher, images: ImageServer, start_worker: StartWorker
) -> None:
    impatient = JobSettings(chunk_deadline_s=2, max_retries=0)
    settings = settings.model_copy(update={"jobs": impatient})
    jobs = [new_job(sessions, publisher, images.url(path), lane=Lane.BULK).id for path in ("/silent?late", "/good.jpg")]
    with start_worker(settings, "bulk"):
        wait_until(lambda: open_jobs(sessions) == 0, 20, "both jobs to end")
    assert outcomes(sessions, jobs) == ["deadline_exceeded", "succeeded"]


@pytest.mark.slow
def test_both_lanes_under_one_parent_have_the_whole_grace(
    settings: Settings, sessions: Sessions, publisher: Publisher, images: ImageServer, bundle: Path, tmp_path: Path
) -> None:
    """A grace so long that its half, after which jobs are given back, is beyond the usual one."""
    patient = settings.fetch.model_copy(update={"read_timeout_s": 300, "total_timeout_s": 300})
    both = {"bundle": bundle, "heartbeat_file": tmp_path / "heartbeat", "grace_s": 56}
    own = settings.worker.model_copy(update=both)
    settings = settings.model_copy(update={"fetch": patient, "worker": own})
    job = new_job(sessions, publisher, images.url("/drip"))
    with running(settings, "worker", log=tmp_path / "worker.log") as parent:
        wait_for_file(tmp_path / "heartbeat", parent)
        wait_until(lambda: read_job(sessions, job.id).status == Status.PROCESSING, 20, "the job to be claimed")
        assert stop(parent, 70) == 0
    row = read_job(sessions, job.id)
    assert (row.status, row.crashes, row.retries) == ("queued", 0, 0), "it was given back"

"""`Retry-After` on a real Postgres: a job waits as long as its host asks, and does not fail for having waited."""

from __future__ import annotations

import datetime as dt
import time

import pytest
from sqlalchemy import func, select, update

from core.db.engine import Sessions
from core.db.models import Job
from core.errors import FetchFailed, FetchRefused
from core.jobs import lifecycle
from core.jobs.queue import Publisher
from core.settings import JobSettings
from core.states import Status
from tests.records import claim_job, new_job, read_job

QUICK = JobSettings(retry_base_s=0.001, max_retries=2)


def fail(
    sessions: Sessions, job: Job, settings: JobSettings, retry_after_s: float | None
) -> tuple[Status | None, float]:
    """One attempt that fails; returns the new status, and the delay before the next attempt in seconds."""
    claim = claim_job(sessions, job.id)
    assert claim is not None
    error = FetchFailed("the host asks for patience", retry_after_s=retry_after_s)
    with sessions.begin() as session:
        status = lifecycle.fail_or_retry(session, claim, error, settings)
        now = session.scalars(select(func.now())).one()
    due = read_job(sessions, job.id).next_attempt_at
    return status, (due - now).total_seconds() if due else 0


def make_older(sessions: Sessions, job: Job, seconds: float) -> None:
    with sessions.begin() as session:
        session.execute(
            update(Job).where(Job.id == job.id).values(created_at=Job.created_at - dt.timedelta(seconds=seconds))
        )


@pytest.mark.parametrize(
    ("retry_after_s", "shortest", "longest"),
    [(None, 0, 0.01), (0, 0, 0.1), (60, 60, 75), (300, 300, 375), (9999, 300, 375)],
)
def test_the_next_attempt_is_not_earlier_than_asked(
    sessions: Sessions, publisher: Publisher, retry_after_s: float | None, shortest: float, longest: float
) -> None:
    status, delay_s = fail(sessions, new_job(sessions, publisher), QUICK, retry_after_s)
    assert status == Status.QUEUED
    assert shortest <= delay_s <= longest


def test_the_own_delay_holds_if_it_is_longer(sessions: Sessions, publisher: Publisher) -> None:
    _, delay_s = fail(sessions, new_job(sessions, publisher), JobSettings(retry_base_s=40), 1)
    assert 30 <= delay_s <= 50


def test_a_job_does_not_fail_for_its_host_s_patience(sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)
    for _ in range(QUICK.max_retries * 4):
        assert fail(sessions, job, QUICK, 0.01)[0] == Status.QUEUED
        time.sleep(0.15)  # the wait, or a tenth of the job's age
    assert read_job(sessions, job.id).retries == 0


def test_other_errors_are_counted_beside_it(sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)
    states = []
    for retry_after_s in (0.01, None, 0.01, None, 0.01, None):
        states.append(fail(sessions, job, QUICK, retry_after_s)[0])
        time.sleep(0.1)
    assert states == [Status.QUEUED] * 5 + [Status.FAILED]


def test_patience_ends(sessions: Sessions, publisher: Publisher) -> None:
    settings = JobSettings(retry_base_s=0.001, max_retries=2, patience_s=60)
    job = new_job(sessions, publisher)
    make_older(sessions, job, 61)
    states = []
    for _ in range(3):
        states.append(fail(sessions, job, settings, 0)[0])
        make_due(sessions, job)
    assert states == [Status.QUEUED] * 2 + [Status.FAILED]


def test_longer_waits_than_the_longest_are_counted(sessions: Sessions, publisher: Publisher) -> None:
    settings = JobSettings(retry_base_s=0.001, retry_max_s=5, max_retries=2)
    job = new_job(sessions, publisher)
    states = []
    for _ in range(3):
        states.append(fail(sessions, job, settings, 6)[0])
        make_due(sessions, job)
    assert states == [Status.QUEUED] * 2 + [Status.FAILED]


def test_tries_of_an_old_job_are_rarer(sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)
    make_older(sessions, job, 1000)
    _, delay_s = fail(sessions, job, QUICK, 1)
    assert 100 <= delay_s <= 126


def test_a_final_error_is_final(sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)
    claim = claim_job(sessions, job.id)
    assert claim is not None
    with sessions.begin() as session:
        error = FetchRefused("no", retry_after_s=1)
        assert lifecycle.fail_or_retry(session, claim, error, QUICK) == Status.FAILED


def make_due(sessions: Sessions, job: Job) -> None:
    with sessions.begin() as session:
        session.execute(update(Job).where(Job.id == job.id).values(next_attempt_at=func.now()))

"""The state machine on a real Postgres: what moves a job, and above all what does not."""

from __future__ import annotations

import threading
import time
import uuid

import pytest
from sqlalchemy import func, select

from core.db.engine import Sessions
from core.db.models import LOCAL_OWNER, Asset, Result
from core.errors import FetchTimeout, NotFound
from core.jobs import lifecycle
from core.jobs.queue import Publisher
from core.settings import JobSettings
from core.states import Status
from tests.records import claim_job, finish_job, new_job, read_job

NO_WAIT = JobSettings(retry_base_s=0.001)


def count(sessions: Sessions, table: type[Asset | Result]) -> int:
    with sessions() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_a_job_goes_from_queued_to_succeeded(sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)
    assert job.status == Status.QUEUED

    claim = claim_job(sessions, job.id)
    assert claim is not None
    assert read_job(sessions, job.id).status == Status.PROCESSING

    assert finish_job(sessions, claim)
    done = read_job(sessions, job.id)
    assert done.status == Status.SUCCEEDED
    assert done.current_result_id is not None
    assert done.finished_at is not None
    assert done.lease_expires_at is None


def test_a_held_job_cannot_be_claimed_again(sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)
    assert claim_job(sessions, job.id)
    assert claim_job(sessions, job.id) is None


def test_an_expired_lease_can_be_claimed_and_counts_as_a_crash(sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)
    claim_job(sessions, job.id, lease_s=0)
    second = claim_job(sessions, job.id)
    assert second is not None
    assert (second.attempt, read_job(sessions, job.id).crashes) == (2, 1)


def test_a_worker_that_lost_its_lease_writes_nothing(sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)
    first = claim_job(sessions, job.id, lease_s=0)
    second = claim_job(sessions, job.id)
    assert first is not None
    assert second is not None
    assert not finish_job(sessions, first, metadata={"gender": "late"})
    assert count(sessions, Result) == 0
    assert finish_job(sessions, second)
    assert not finish_job(sessions, second), "an answer is written once"
    assert count(sessions, Result) == 1


def test_of_many_claimers_one_wins(sessions: Sessions, publisher: Publisher) -> None:
    job_ids = [new_job(sessions, publisher).id for _ in range(20)]
    won: list[uuid.UUID] = []

    def take() -> None:
        with sessions.begin() as session:
            claims = lifecycle.claim(session, job_ids, 15)
        won.extend(claim.id for claim in claims)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == sorted(job_ids)


def test_renewing_prolongs_only_what_is_ours(sessions: Sessions, publisher: Publisher) -> None:
    ours, canceled, lost = (new_job(sessions, publisher) for _ in range(3))
    held = [claim_job(sessions, job.id, lease_s=1) for job in (ours, canceled, lost)]
    before = read_job(sessions, ours.id).lease_expires_at
    with sessions.begin() as session:
        lifecycle.cancel(session, LOCAL_OWNER, canceled.id)
    pairs = [(claim.id, claim.attempt) for claim in held if claim]
    pairs[2] = (pairs[2][0], pairs[2][1] + 1)
    with sessions.begin() as session:
        assert lifecycle.renew(session, pairs, 60) == {ours.id}
    after = read_job(sessions, ours.id).lease_expires_at
    assert before is not None
    assert after is not None
    assert after > before


@pytest.mark.parametrize("is_processing", [False, True])
def test_cancel_ends_a_job_at_once_and_its_worker_is_too_late(
    sessions: Sessions, publisher: Publisher, is_processing: bool
) -> None:
    job = new_job(sessions, publisher)
    claim = claim_job(sessions, job.id) if is_processing else None
    with sessions.begin() as session:
        assert lifecycle.cancel(session, LOCAL_OWNER, job.id)
    assert read_job(sessions, job.id).status == Status.CANCELED
    assert claim is None or not finish_job(sessions, claim)
    assert claim_job(sessions, job.id) is None


def test_nobody_cancels_what_is_not_theirs_or_has_ended(sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)
    with sessions.begin() as session:
        assert not lifecycle.cancel(session, "somebody-else", job.id)
    claim = claim_job(sessions, job.id)
    assert claim is not None
    finish_job(sessions, claim)
    with sessions.begin() as session:
        assert not lifecycle.cancel(session, LOCAL_OWNER, job.id)


def test_a_terminal_error_fails_at_once(sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)
    claim = claim_job(sessions, job.id)
    assert claim is not None
    with sessions.begin() as session:
        assert lifecycle.fail_or_retry(session, claim, NotFound("there is no image at this address"), NO_WAIT)
    failed = read_job(sessions, job.id)
    assert failed.status == Status.FAILED
    assert failed.error == {
        "code": "not_found",
        "message": "there is no image at this address",
        "retryable": False,
    }


def test_a_retryable_error_is_tried_again_until_the_tries_are_used_up(sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)
    states = []
    for _ in range(NO_WAIT.max_retries + 1):
        time.sleep(0.03)  # the longest of these delays
        claim = claim_job(sessions, job.id)
        assert claim is not None
        with sessions.begin() as session:
            lifecycle.fail_or_retry(session, claim, FetchTimeout("no answer in time"), NO_WAIT)
        states.append(read_job(sessions, job.id).status)
    assert states == [Status.QUEUED] * NO_WAIT.max_retries + [Status.FAILED]


def test_a_job_that_waits_for_its_retry_cannot_be_claimed_early(sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)
    claim = claim_job(sessions, job.id)
    assert claim is not None
    with sessions.begin() as session:
        lifecycle.fail_or_retry(session, claim, FetchTimeout("no answer in time"), JobSettings(retry_base_s=60))
    assert claim_job(sessions, job.id) is None


def test_delays_double_up_to_the_longest_with_jitter() -> None:
    settings = JobSettings(retry_base_s=2, retry_max_s=60)
    delays = [lifecycle.retry_delay_s(retries, settings) for retries in (0, 1, 2, 10)]
    expected = [2, 4, 8, 60]
    assert all(0.75 * middle <= delay <= 1.25 * middle for delay, middle in zip(delays, expected, strict=True))


def test_a_released_job_is_free_again_and_nothing_is_counted(sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)
    claim = claim_job(sessions, job.id)
    assert claim is not None
    with sessions.begin() as session:
        assert lifecycle.release(session, claim)
    row = read_job(sessions, job.id)
    assert (row.status, row.crashes, row.retries) == (Status.QUEUED, 0, 0)


def test_a_job_that_kills_the_process_it_is_alone_in_is_put_back_once_and_then_poison(
    sessions: Sessions, publisher: Publisher
) -> None:
    job = new_job(sessions, publisher)
    claim_job(sessions, job.id, lease_s=0)
    has_gone_back = []
    for _ in range(2):
        claim = claim_job(sessions, job.id)
        assert claim is not None
        with sessions.begin() as session:
            has_gone_back.append(lifecycle.crash(session, claim, JobSettings().max_crashes) is Status.QUEUED)
    assert has_gone_back == [True, False]
    row = read_job(sessions, job.id)
    assert (row.status, row.crashes) == (Status.FAILED, 3)
    assert row.error is not None
    assert row.error["code"] == "poison"


def test_a_job_whose_next_crash_was_its_last_is_left_to_the_sweeper(sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)
    claim_job(sessions, job.id, lease_s=0)
    with sessions.begin() as session:
        assert lifecycle.claim(session, [job.id], 15, max_crashes=1) == []
    with sessions.begin() as session:
        assert lifecycle.free_expired(session, 1, 10) == (0, 1)


def test_the_same_bytes_are_one_asset(sessions: Sessions, publisher: Publisher) -> None:
    for owner_id in ("a", "a", "b"):
        claim = claim_job(sessions, new_job(sessions, publisher, owner_id=owner_id).id)
        assert claim is not None
        finish_job(sessions, claim)
    assert (count(sessions, Asset), count(sessions, Result)) == (2, 3)

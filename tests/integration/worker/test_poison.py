"""A job that kills every process it runs in, among jobs that do no harm."""

from __future__ import annotations

import datetime as dt
import uuid
from pathlib import Path

import pytest
from sqlalchemy import func, select

from core.db.engine import Sessions
from core.db.models import LOCAL_OWNER, Job, Result
from core.jobs.queue import Publisher
from core.settings import JobSettings, Settings
from core.states import Lane
from core.storage.uploads import open_storage
from dispatcher.sweeper import Sweeper
from tests import killer, pictures
from tests.integration.worker.conftest import StartWorker
from tests.processes import wait_until
from tests.records import open_jobs, outcomes, read_job

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

QUICK_LEASES = JobSettings(lease_s=3, renew_every_s=0.5, retry_base_s=0.05)


def one_message(
    settings: Settings, sessions: Sessions, publisher: Publisher, files: list[bytes], lane: Lane = Lane.BULK
) -> list[uuid.UUID]:
    """Jobs of uploaded files that are published together."""
    storage, now = open_storage(settings), dt.datetime.now(dt.UTC)
    addresses = [storage.put(data, owner_id=LOCAL_OWNER, content_type=None) for data in files]
    rows = [Job(owner_id=LOCAL_OWNER, lane=lane, address=at, is_upload=True, published_at=now) for at in addresses]
    with sessions.begin() as session:
        session.add_all(rows)
    job_ids = [row.id for row in rows]
    publisher.publish(job_ids, lane, now)
    return job_ids


def test_a_killer_ends_as_poison_and_its_63_mates_are_answered(
    settings: Settings, sessions: Sessions, publisher: Publisher, start_worker: StartWorker, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"jobs": QUICK_LEASES})
    # Bytes after the picture's end make each file another one, so that each is decoded.
    good = [pictures.jpeg() + bytes([number]) for number in range(63)]
    job_ids = one_message(settings, sessions, publisher, [*good[:20], killer.picture(), *good[20:]])
    sweeper = Sweeper(settings, sessions, publisher)
    with killer.fatal_decoder(tmp_path):
        with start_worker(settings, "bulk") as first:
            first.wait(60)
        with start_worker(settings, "bulk") as second:
            wait_until(lambda: sweeper.sweep() is not None and open_jobs(sessions) == 0, 200, "all jobs to end")
            assert second.poll() is None, "from the second time on only the child dies"
    assert outcomes(sessions, job_ids) == ["succeeded"] * 20 + ["poison"] + ["succeeded"] * 43
    culprit = read_job(sessions, job_ids[20])
    assert culprit.crashes == settings.jobs.max_crashes
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(Result)) == 63
        assert session.scalar(select(func.max(Job.crashes)).where(Job.id != culprit.id)) in (0, 1)

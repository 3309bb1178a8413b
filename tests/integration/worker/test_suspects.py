"""Jobs whose worker died once, and which may be innocent: what else dies around them must not make them poison."""

from __future__ import annotations

from collections.abc import Sequence
from subprocess import Popen
from uuid import UUID

import pytest
from sqlalchemy import update

from core.db.engine import Sessions
from core.db.models import Job
from core.jobs.queue import Publisher
from core.settings import JobSettings, Settings
from core.states import Lane
from dispatcher.sweeper import Sweeper
from tests.image_server import ImageServer
from tests.integration.worker.conftest import StartWorker
from tests.processes import wait_until
from tests.records import new_job, open_jobs, outcomes, read_job

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

QUICK_LEASES = JobSettings(lease_s=3, renew_every_s=0.5, retry_base_s=0.05)
COUNT = 6


def suspects(sessions: Sessions, publisher: Publisher, images: ImageServer, lane: Lane) -> list[UUID]:
    """Jobs that count one crash, and hang on a silent server; in the bulk lane sent together."""
    jobs = [new_job(sessions, publisher, images.url(f"/silent?{number}"), lane=lane).id for number in range(COUNT)]
    with sessions.begin() as session:
        session.execute(update(Job).values(crashes=1))
    return jobs


def kill_with_one_in_hand(worker: Popen[bytes], sessions: Sessions, images: ImageServer, jobs: Sequence[UUID]) -> None:
    asked = len(images.requests)
    wait_until(lambda: len(images.requests) > asked, 60, "the child to begin with a job")
    assert outcomes(sessions, jobs).count("processing") == 1, "the others wait, and nobody holds them"
    worker.kill()
    worker.wait()


# In the interactive lane messages come singly: which job is in hand at a second death, nobody can say.
@pytest.mark.parametrize(("lane", "deaths"), [(Lane.INTERACTIVE, 1), (Lane.BULK, 2)])
def test_a_worker_that_is_killed_counts_against_the_one_suspect_in_hand(
    settings: Settings,
    sessions: Sessions,
    publisher: Publisher,
    images: ImageServer,
    start_worker: StartWorker,
    lane: Lane,
    deaths: int,
) -> None:
    settings = settings.model_copy(update={"jobs": QUICK_LEASES})
    dispatcher = settings.dispatcher.model_copy(update={"lost_after_s": 1})
    sweeper = Sweeper(settings.model_copy(update={"dispatcher": dispatcher}), sessions, publisher)
    jobs = suspects(sessions, publisher, images, lane)
    for died in range(1, deaths + 1):
        with start_worker(settings, lane.value) as worker:
            kill_with_one_in_hand(worker, sessions, images, jobs)
        wait_until(
            lambda: sweeper.sweep() is not None and set(outcomes(sessions, jobs)) == {"queued"}, 30, "all to be free"
        )
        crashes = sorted(read_job(sessions, job_id).crashes for job_id in jobs)
        assert crashes == [1] * (COUNT - died) + [2] * died, "each death meets another one"
    with sessions.begin() as session:
        session.execute(update(Job).values(address=images.url("/good.jpg")))
    with start_worker(settings, lane.value):
        wait_until(lambda: sweeper.sweep() is not None and open_jobs(sessions) == 0, 60, "all jobs to end")
    assert set(outcomes(sessions, jobs)) == {"succeeded"}

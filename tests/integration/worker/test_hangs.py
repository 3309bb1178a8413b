"""Decoders and models that never return: the process ends by itself, and what it held is done by another."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from core.db.engine import Sessions
from core.db.models import Result
from core.jobs.queue import Publisher
from core.settings import JobSettings, Settings
from dispatcher.sweeper import Sweeper
from model.nets.cores import available_cores
from tests import killer, pictures
from tests.image_server import ImageServer
from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.test_poison import one_message
from tests.processes import wait_until
from tests.records import new_job, open_jobs, outcomes, read_job
from worker.process.watchdog import EXIT_HUNG

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

QUICK_LEASES = JobSettings(lease_s=3, renew_every_s=0.5, retry_base_s=0.05)


def impatient(settings: Settings, **worker: float) -> Settings:
    changed = settings.worker.model_copy(update=worker)
    return settings.model_copy(update={"jobs": QUICK_LEASES, "worker": changed})


def test_a_picture_whose_decoding_hangs_ends_as_poison_and_its_mates_are_answered(
    settings: Settings, sessions: Sessions, publisher: Publisher, start_worker: StartWorker, tmp_path: Path
) -> None:
    settings = impatient(settings, decode_deadline_s=3)
    good = [pictures.jpeg() + bytes([number]) for number in range(7)]
    job_ids = one_message(settings, sessions, publisher, [*good[:3], killer.picture(killer.HANG), *good[3:]])
    culprit = job_ids[3]
    sweeper, log = Sweeper(settings, sessions, publisher), tmp_path / "worker.log"
    with killer.fatal_decoder(tmp_path):
        with start_worker(settings, "bulk", log) as first:
            assert first.wait(30) == EXIT_HUNG
        told = [line for line in log.read_text().splitlines() if "decode_hung" in line]
        assert len(told) == 1
        assert str(culprit) in told[0]
        with start_worker(settings, "bulk") as second:
            wait_until(lambda: sweeper.sweep() is not None and open_jobs(sessions) == 0, 120, "all jobs to end")
            assert second.poll() is None, "from the second time on only the child ends"
    assert outcomes(sessions, job_ids) == ["succeeded"] * 3 + ["poison"] + ["succeeded"] * 4
    assert read_job(sessions, culprit).crashes == settings.jobs.max_crashes


def test_a_picture_that_hangs_in_a_child_process_fails_alone_while_its_mates_are_answered(
    settings: Settings, sessions: Sessions, publisher: Publisher, start_worker: StartWorker, tmp_path: Path
) -> None:
    settings, log = impatient(settings, decode_deadline_s=5), tmp_path / "worker.log"
    good = [pictures.jpeg() + bytes([number]) for number in range(8)]
    with killer.fatal_decoder(tmp_path), start_worker(settings, "bulk", log) as worker:
        job_ids = one_message(settings, sessions, publisher, [*good[:4], killer.picture(killer.HANG, "GIF"), *good[4:]])
        wait_until(lambda: open_jobs(sessions) == 1, 4, "the mates to be answered")
        wait_until(lambda: open_jobs(sessions) == 0, 20, "the hanging decode to be killed")
        assert worker.poll() is None
    assert outcomes(sessions, job_ids) == ["succeeded"] * 4 + ["image_undecodable"] + ["succeeded"] * 4
    assert log.read_text().count("decode_killed") == 1


def test_a_picture_that_kills_child_processes_is_poison_and_the_worker_lives(
    settings: Settings, sessions: Sessions, publisher: Publisher, start_worker: StartWorker, tmp_path: Path
) -> None:
    with killer.fatal_decoder(tmp_path), start_worker(impatient(settings), "bulk") as worker:
        job_ids = one_message(settings, sessions, publisher, [pictures.jpeg(), killer.picture(kind="GIF")])
        wait_until(lambda: open_jobs(sessions) == 0, 30, "all jobs to end")
        assert worker.poll() is None
    assert outcomes(sessions, job_ids) == ["succeeded", "poison"]
    assert read_job(sessions, job_ids[1]).crashes == 0


def test_the_wait_for_a_slot_is_no_part_of_the_time_for_decoding(
    settings: Settings, sessions: Sessions, publisher: Publisher, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Three pictures for each slot, one second each: the last wait for two seconds."""
    count = 3 * available_cores()
    settings = impatient(settings, threads=count)
    slow = [killer.picture(killer.SLOW) + bytes([number]) for number in range(count)]
    with killer.fatal_decoder(tmp_path), start_worker(settings, "bulk"):
        one_message(settings, sessions, publisher, slow)
        wait_until(lambda: open_jobs(sessions) == 0, 60, "all jobs to end")
    with sessions() as session:
        decode_ms = [result.timings["decode_ms"] for result in session.scalars(select(Result))]
    assert len(decode_ms) == count
    assert max(decode_ms) < 2000


def test_a_worker_whose_model_hangs_ends_and_another_does_its_jobs(
    settings: Settings,
    sessions: Sessions,
    publisher: Publisher,
    images: ImageServer,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    settings, log = impatient(settings, batch_deadline_s=3), tmp_path / "worker.log"
    sweeper = Sweeper(settings, sessions, publisher)
    with killer.hanging_model(tmp_path) as switch:
        with start_worker(settings, log=log) as first:
            switch.touch()
            jobs = [new_job(sessions, publisher, images.url(f"/slow/0/{number}")).id for number in range(3)]
            assert first.wait(30) == EXIT_HUNG
        assert log.read_text().count("model_hung") == 1
        assert open_jobs(sessions) == 3
        switch.unlink()
        with start_worker(settings):
            wait_until(lambda: sweeper.sweep() is not None and open_jobs(sessions) == 0, 60, "the jobs to be done")
    assert outcomes(sessions, jobs) == ["succeeded"] * 3

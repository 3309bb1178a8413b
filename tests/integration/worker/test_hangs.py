"""Decoders and models that never return: the process ends by itself, and what it held is done by another."""

from __future__ import annotations

from pathlib import Path

import pytest

from courier.sweeper import Sweeper
from jobs.database import Sessions
from jobs.queue import Publisher
from jobs.settings import JobSettings, Settings
from tests import killer, pictures
from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.test_poison import one_message
from tests.processes import wait_until
from tests.records import open_jobs, outcomes, read_job
from worker.watch import EXIT_HUNG

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

QUICK_LEASES = JobSettings(lease_s=2, renew_every_s=0.5, retry_base_s=0.05)


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
        told = [line for line in log.read_text().splitlines() if "decode_hangs" in line]
        assert len(told) == 1
        assert str(culprit) in told[0]
        with start_worker(settings, "bulk") as second:
            wait_until(lambda: sweeper.sweep() is not None and open_jobs(sessions) == 0, 120, "all jobs to end")
            assert second.poll() is None, "from the second time on only the child ends"
    assert outcomes(sessions, job_ids) == ["succeeded"] * 3 + ["poison"] + ["succeeded"] * 4
    assert read_job(sessions, culprit).crashes == settings.jobs.max_crashes

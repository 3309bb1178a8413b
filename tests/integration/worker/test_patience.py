"""A real worker and a host that asks for patience: each try comes after the wait, and the job succeeds in the end."""

from __future__ import annotations

import itertools
import time

from core.db.engine import Sessions
from core.jobs.queue import Publisher
from core.settings import JobSettings, Settings
from dispatcher.sweeper import Sweeper
from tests import pictures
from tests.integration.worker.conftest import StartWorker
from tests.odd_server import OddServer, Request
from tests.processes import wait_until
from tests.records import new_job, open_jobs, outcomes

BUSY = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
TRIES = 4


def test_a_job_outlasts_a_busy_host(
    settings: Settings, sessions: Sessions, publisher: Publisher, start_worker: StartWorker
) -> None:
    settings = settings.model_copy(update={"jobs": JobSettings(retry_base_s=0.05, max_retries=1)})
    asked_at: list[float] = []

    def answer(request: Request) -> bytes:
        asked_at.append(time.monotonic())
        body = pictures.jpeg()
        good = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        return good if len(asked_at) > TRIES else BUSY

    sweeper = Sweeper(settings, sessions, publisher)
    with OddServer({"/busy.jpg": answer}) as server, start_worker(settings):
        job = new_job(sessions, publisher, server.url("/busy.jpg"))
        wait_until(lambda: sweeper.sweep() is not None and open_jobs(sessions) == 0, 60, "the job to end")

    assert outcomes(sessions, [job.id]) == ["succeeded"]
    waits = [later - earlier for earlier, later in itertools.pairwise(asked_at)]
    assert len(waits) == TRIES
    assert min(waits) >= 1

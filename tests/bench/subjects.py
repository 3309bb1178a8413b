"""What is measured: each function runs one subject over the addresses and answers images per second or seconds."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import urllib3
from sqlalchemy import Engine, func, insert, select, text

from core.db.engine import make_engine, make_sessions
from core.db.models import LOCAL_OWNER, Job
from core.jobs.queue import Publisher
from core.net.http import GuardedClient
from core.settings import Settings
from core.states import Lane, Status
from model.predictor import Predictor
from model.preprocessing import Pixels
from tests.bench import plain_celery
from tests.processes import running, wait_for_api, wait_for_file
from worker.image.preprocess import preprocess


def bare_loop(settings: Settings, addresses: Sequence[str]) -> float:
    """Images/s of fetch + decode + predict with the service's own parts and batch size, and nothing else: the limit."""
    predictor = Predictor.load(settings.worker.bundle)
    predictor.warm_up()
    client = GuardedClient(settings.fetch)

    def pixels(address: str) -> Pixels:
        return preprocess(client.get(address).body, predictor, settings.decode).pixels

    started = time.perf_counter()
    with ThreadPoolExecutor(2 * settings.worker.max_batch_size) as threads:
        ready = threads.map(pixels, addresses)
        while batch := list(itertools.islice(ready, settings.worker.max_batch_size)):
            predictor.predict(batch)
    return len(addresses) / (time.perf_counter() - started)


def service_at_saturation(settings: Settings, addresses: Sequence[str], lane: Lane) -> float:
    """Images/s of one worker process that finds all jobs queued, from its first claim to its last answer."""
    engine = make_engine(settings)
    job_ids = _queue_all(settings, engine, addresses, lane)
    with worker(settings, lane):
        _wait_until_done(engine, job_ids)
    with engine.connect() as connection:
        seconds = connection.scalar(
            select(func.extract("epoch", func.max(Job.finished_at) - func.min(Job.started_at))).where(
                Job.id.in_(job_ids)
            )
        )
        failed = connection.scalar(select(func.count()).where(Job.id.in_(job_ids), Job.status != Status.SUCCEEDED))
    engine.dispose()
    if failed:
        raise SystemExit(f"{failed} jobs of the bench did not succeed")
    return len(addresses) / float(seconds or 1)


def _queue_all(settings: Settings, engine: Engine, addresses: Sequence[str], lane: Lane) -> list[uuid.UUID]:
    published_at = dt.datetime.now(dt.UTC)
    rows = [
        {"id": uuid.uuid4(), "owner_id": LOCAL_OWNER, "lane": lane, "address": address, "published_at": published_at}
        for address in addresses
    ]
    with make_sessions(engine).begin() as session:
        # Answers of an earlier subject must not be found again: the same bytes would skip the model.
        session.execute(text("TRUNCATE job, result, asset CASCADE"))
        session.execute(insert(Job), rows)
    publisher = Publisher(settings)
    publisher.publish([row["id"] for row in rows], lane, published_at)
    publisher.close()
    return [row["id"] for row in rows]


def _wait_until_done(engine: Engine, job_ids: Sequence[uuid.UUID], timeout_s: float = 600) -> None:
    deadline = time.monotonic() + timeout_s
    open_jobs = select(func.count()).where(Job.id.in_(job_ids), Job.finished_at.is_(None))
    while time.monotonic() < deadline:
        with engine.connect() as connection:
            if connection.scalar(open_jobs) == 0:
                return
        time.sleep(0.2)
    raise SystemExit("the bench's jobs did not end in ten minutes")


def one_at_a_time(settings: Settings, addresses: Sequence[str]) -> list[float]:
    """Seconds from POST to answer, a job after the other, through HTTP with `Prefer: wait`."""
    with worker(settings, Lane.INTERACTIVE), running(settings, "api", log=Path(os.devnull)):
        base = f"http://127.0.0.1:{settings.api.port}"
        http = urllib3.PoolManager()
        wait_for_api(base)
        _post(http, base, addresses[0])
        return [_post(http, base, address) for address in addresses[1:]]


def _post(http: urllib3.PoolManager, base: str, address: str) -> float:
    started = time.perf_counter()
    answer = http.request("POST", f"{base}/v1/jobs", json={"url": address}, headers={"Prefer": "wait=30"}).json()
    if answer["status"] != Status.SUCCEEDED:
        raise SystemExit(f"a job of the bench did not succeed: {answer}")
    return time.perf_counter() - started


def plain_celery_task(settings: Settings, addresses: Sequence[str]) -> float:
    """Images/s of a task per image with Celery's default pool, from the first answer to the last."""
    url = settings.queue.url.get_secret_value()
    plain_celery.app.conf.update(broker_url=url, result_backend=url)
    command = [sys.executable, "-m", "celery", "-A", "tests.bench.plain_celery", "worker", "--loglevel", "ERROR"]
    with subprocess.Popen(
        command, env=os.environ | {"BENCH_REDIS_URL": url}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as worker:
        # Every process of the pool has loaded the model once these are answered.
        for warm in [plain_celery.describe.delay(address) for address in addresses[:32]]:
            warm.get(timeout=120)
        started = time.perf_counter()
        for result in [plain_celery.describe.delay(address) for address in addresses]:
            result.get(timeout=600)
        seconds = time.perf_counter() - started
        worker.terminate()
    return len(addresses) / seconds


@contextlib.contextmanager
def worker(settings: Settings, lane: Lane) -> Iterator[None]:
    """A worker process of the lane while the block runs, ready from the start."""
    with tempfile.TemporaryDirectory() as folder:
        heartbeat = Path(folder) / "heartbeat"
        own = settings.worker.model_copy(update={"heartbeat_file": heartbeat})
        own_settings = settings.model_copy(update={"worker": own})
        with running(own_settings, "worker", "--lane", lane.value, log=Path(folder) / "log") as child:
            wait_for_file(heartbeat, child)
            yield

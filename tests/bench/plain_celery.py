"""A plain Celery task per image, as one would write it on the first day: download, open, predict, return.

No batching, no claim, no lease: the answer goes to Redis as the task's result. Start a worker of it with
`celery -A tests.bench.plain_celery worker`, with BENCH_REDIS_URL set.
"""

from __future__ import annotations

import functools
import io
import os
from typing import Any

import urllib3
from celery import Celery
from PIL import Image

from core.settings import Settings
from model.predictor import Predictor

REDIS = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379/0")
app = Celery("plain", broker=REDIS, backend=REDIS)
app.conf.update(task_default_queue="plain", broker_connection_retry_on_startup=True)


@functools.cache
def predictor() -> Predictor:
    # One thread a process: with the default pool there is a process for each core already.
    return Predictor.load(Settings().worker.bundle, threads=1)


@functools.cache
def http() -> urllib3.PoolManager:
    return urllib3.PoolManager()


@app.task(name="plain.describe")
def describe(url: str) -> dict[str, Any]:
    body = http().request("GET", url).data
    image = Image.open(io.BytesIO(body)).convert("RGB")
    model = predictor()
    metadata: dict[str, Any] = model.predict([model.preprocess(image)])[0].to_json()["metadata"]
    return metadata

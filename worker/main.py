"""The worker's process: Celery's threads pool over one lane."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import uuid
import warnings
from collections.abc import Sequence

from celery import Celery, signals
from celery.exceptions import SecurityWarning

from core.jobs.queue import (
    MESSAGE_VERSION,
    TASK_NAME,
    make_celery,
    queue_name,
)
from core.settings import Settings
from core.states import Lane
from core.telemetry.logs import configure_logs, get_logger
from core.telemetry.metrics import WorkerMetrics
from core.telemetry.metrics_server import metrics_served
from core.telemetry.tracing import open_tracing
from worker.consumer import Chunks
from worker.job_metrics import tell_ready
from worker.process.celery_request import LoudRequest
from worker.process.memory import MemoryGuard
from worker.process.shutdown import Drain, leave
from worker.runtime import open_runtime

log = get_logger(__name__)

BULK_MESSAGES = 2
"""Chunks in progress at once in the bulk lane: the second fetches while the first is in the model."""


def run(settings: Settings, lane: str) -> int:
    """Serves one lane until SIGTERM or SIGINT; answers the exit status. Raises StartError, BundleError."""
    configure_logs(settings, f"worker.{lane}")
    # Connecting to this signal keeps Celery from setting up logging of its own.
    signals.setup_logging.connect(_keep_our_logging, weak=False)
    # Celery warns against root because of pickled messages; we accept JSON only.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    metrics, tracing = WorkerMetrics(), open_tracing(settings.tracing, "worker")
    with (
        metrics_served(settings.metrics, metrics.registry),
        contextlib.closing(tracing),
        open_runtime(settings, Lane(lane), metrics, tracing) as runtime,
    ):
        app = make_worker_app(settings, Lane(lane), runtime.chunks)
        drain = Drain(runtime.chunks.stop, runtime.chunks.let_go, settings.worker.grace_s)
        signals.worker_shutting_down.connect(lambda **_: drain.begin(), weak=False)
        # Through the signal, so that Celery takes part; not before it listens to it.
        guard = MemoryGuard(settings.worker.max_rss_mib, lambda: os.kill(os.getpid(), signal.SIGTERM))
        signals.worker_ready.connect(lambda **_: guard.start(), weak=False)
        signals.worker_ready.connect(lambda **_: tell_ready(metrics), weak=False)
        status = _serve(app, settings, Lane(lane))
        guard.close()
    if not runtime.chunks.is_quiet:
        leave(status)
    return status


def make_worker_app(settings: Settings, lane: Lane, chunks: Chunks) -> Celery:
    """The lane's Celery application with our one task."""
    app = make_celery(settings, lane)

    @app.task(name=TASK_NAME, acks_late=True, ignore_result=True, Request=LoudRequest)
    def enrich(job_ids: Sequence[str], v: int, published_at: str) -> None:
        if v != MESSAGE_VERSION:
            # A newer publisher's message. The sweeper publishes the jobs again, for a worker that understands.
            log.error("message_version_unknown", v=v)
            return
        chunks.run([uuid.UUID(job_id) for job_id in job_ids])

    return app


def _serve(app: Celery, settings: Settings, lane: Lane) -> int:
    worker = app.Worker(
        hostname=f"{lane}@{socket.gethostname()}",
        pool="threads",
        concurrency=settings.worker.threads if lane is Lane.INTERACTIVE else BULK_MESSAGES,
        queues=[queue_name(lane)],
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        loglevel=logging.INFO,
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def _keep_our_logging(**_: object) -> None:
    """Nothing to do: that it is connected is what matters."""

"""The worker process: Celery's threads pool over one lane."""

from __future__ import annotations

import logging
import os
import signal
import socket
import uuid
import warnings
from collections.abc import Sequence

from celery import Celery, signals
from celery.exceptions import SecurityWarning

from core.jobs.queue import MESSAGE_VERSION, TASK_NAME, make_celery, queue_name
from core.settings import Settings
from core.states import Lane
from core.telemetry.logs import configure_logs, get_logger
from core.telemetry.metrics import WorkerMetrics
from core.telemetry.metrics_server import serve_metrics
from core.telemetry.tracing import exporting
from worker.consumer import Consumer
from worker.job_metrics import export_ready
from worker.process.celery_request import StrictAckRequest
from worker.process.memory import MemoryGuard, set_allocator
from worker.process.shutdown import Shutdown, ShutdownSignal, exit_now
from worker.runtime import open_consumer

log = get_logger(__name__)

BULK_MESSAGES = 2
"""Messages consumed at a time in the bulk lane: the jobs of the second fetch while those of the first are predicted."""


def run(settings: Settings, lane: str) -> int:
    """Serves one lane until SIGTERM or SIGINT. Returns the exit status. Raises StartError, BundleError."""
    set_allocator()
    configure_logs(settings, f"worker.{lane}")
    # Connecting to this signal keeps Celery from configuring logging itself.
    signals.setup_logging.connect(_keep_our_logging, weak=False)
    # Celery warns against running as root because of pickled messages; only JSON is accepted here.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    metrics, shutdown = WorkerMetrics(), ShutdownSignal()
    with (
        serve_metrics(settings.metrics, metrics.registry),
        exporting(settings.tracing, "worker"),
        open_consumer(settings, Lane(lane), metrics, shutdown) as consumer,
    ):
        app = make_worker_app(settings, Lane(lane), consumer)
        schedule = Shutdown(shutdown, settings.worker.grace_s)
        signals.worker_shutting_down.connect(lambda **_: schedule.begin(), weak=False)
        # Shut down by signal, so that Celery takes part, and only once Celery handles the signal.
        guard = MemoryGuard(settings.worker.max_rss_mib, lambda: os.kill(os.getpid(), signal.SIGTERM))
        signals.worker_ready.connect(lambda **_: guard.start(), weak=False)
        signals.worker_ready.connect(lambda **_: export_ready(metrics), weak=False)
        status = _serve(app, settings, Lane(lane))
        guard.close()
    if not consumer.is_idle:
        exit_now(status)
    return status


def make_worker_app(settings: Settings, lane: Lane, consumer: Consumer) -> Celery:
    """Returns the lane's Celery application with its only task."""
    app = make_celery(settings, lane)

    @app.task(name=TASK_NAME, acks_late=True, ignore_result=True, Request=StrictAckRequest)
    def enrich(job_ids: Sequence[str], v: int, published_at: str) -> None:
        if v != MESSAGE_VERSION:
            # A message of a newer publisher. The sweeper publishes its jobs again, for a worker that can read it.
            log.error("message_version_unknown", v=v)
            return
        consumer.run([uuid.UUID(job_id) for job_id in job_ids])

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
    """Does nothing. Being connected is enough."""

"""The isolated child process: runs suspects one at a time, so that its death identifies the job that caused it.

It is spawned and never forked, because CUDA does not survive a fork. It runs the same pipeline as its parent with a
model of its own. Loading the model takes seconds, so a child serves suspects until it dies or nothing has arrived for
`IDLE_S`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection

from core.jobs.lifecycle import Claim
from core.settings import Settings
from core.telemetry.logs import configure_logs, get_logger
from core.telemetry.metrics import WorkerMetrics
from core.telemetry.tracing import exporting
from worker.pipeline import WorkerBase
from worker.process.memory import set_allocator

log = get_logger(__name__)

STARTED = None
"""Sent before a job runs; the result of `Pipeline.run` follows it."""

IDLE_S = 30.0
"""A second model takes memory, so the child exits when no suspect arrives."""


OpenBase = Callable[[Settings, WorkerMetrics], AbstractContextManager[WorkerBase]]
"""`worker.runtime.open_base`. The parent passes it in, because the runtime itself imports this module."""


def serve(settings: Settings, connection: Connection, open_base: OpenBase) -> None:
    """Entry point of the child. Answers each claim with STARTED and then its outcome, until the parent closes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # Signals may reach the whole process group; the parent decides when the child ends.
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, name="parent", daemon=True).start()
    set_allocator()
    configure_logs(settings, "worker.isolated_child")
    # Nobody scrapes the child: its parent records the outcomes.
    metrics = WorkerMetrics()
    with (
        exporting(settings.tracing, "worker"),
        open_base(_minimal(settings), metrics) as base,
        contextlib.suppress(EOFError, OSError),
    ):
        while connection.poll(IDLE_S):
            _run_one(base, connection, connection.recv())


def _run_one(base: WorkerBase, connection: Connection, claim: Claim) -> None:
    connection.send(STARTED)
    with base.leases.hold([claim]):
        outcome = base.pipeline.run(claim)
    connection.send(outcome)


def _minimal(settings: Settings) -> Settings:
    worker = settings.worker.model_copy(update={"max_batch_size": 1, "max_wait_ms": 0, "heartbeat_file": None})
    database = settings.database.model_copy(update={"pool_size": min(2, settings.database.pool_size)})
    return settings.model_copy(update={"worker": worker, "database": database})


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)

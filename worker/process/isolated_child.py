"""The child process for jobs whose worker died: takes one job at a time, so that its own death names the culprit.

Started fresh and never forked, since CUDA does not survive a fork. It runs the very same pipeline as its parent, with
a model of its own. Loading that takes seconds, hence it serves the next suspect, too, as long as it lives; when it has
died, the next one gets a new process.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection

from core.settings import Settings
from core.telemetry.logs import configure_logs, get_logger
from core.telemetry.metrics import WorkerMetrics
from core.telemetry.tracing import open_tracing
from worker.assembly import open_pipeline

log = get_logger(__name__)

TAKEN = None
"""Said before the work; after it comes what `Pipeline.run` answered."""

# A second model takes memory: without suspects it goes.
IDLE_S = 30.0


def serve(settings: Settings, connection: Connection) -> None:
    """Entry of the child: answers each claim with TAKEN before the work and its end after it, until nobody asks."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # Told to the whole group at times; the parent decides what becomes of us.
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, name="parent", daemon=True).start()
    configure_logs(settings, "worker.process.isolated_child")
    # Nobody reads the child's metrics: what it answers is counted by its parent.
    tracing = open_tracing(settings.tracing, "worker")
    with contextlib.closing(tracing), open_pipeline(_small(settings), WorkerMetrics(), tracing) as pipeline:
        try:
            while connection.poll(IDLE_S):
                claim = connection.recv()
                connection.send(TAKEN)
                with pipeline.parts.leases.hold([claim]):
                    ended = pipeline.run(claim)
                connection.send(ended)
        except (EOFError, OSError):
            return


def _small(settings: Settings) -> Settings:
    worker = settings.worker.model_copy(update={"max_batch_size": 1, "max_wait_ms": 0, "heartbeat_file": None})
    database = settings.database.model_copy(update={"pool_size": min(2, settings.database.pool_size)})
    return settings.model_copy(update={"worker": worker, "database": database})


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)

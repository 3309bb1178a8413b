"""Runs suspects: jobs whose worker has died before. Each runs alone in a child process, one after another."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence

from core.db.engine import Sessions
from core.db.errors import UNAVAILABLE
from core.errors import ModelUnavailable
from core.jobs import lifecycle
from core.jobs.lifecycle import Claim
from core.settings import JobSettings
from core.telemetry.logs import get_logger, log_context
from worker.job_metrics import JobMetrics, JobOutcome
from worker.leases import LeaseKeeper
from worker.pipeline import Pipeline
from worker.process.db_retry import retry_while_unavailable
from worker.process.isolation import Isolation, RunEnd
from worker.process.shutdown import ShutdownSignal
from worker.requeue import Requeuer

log = get_logger(__name__)


class SuspectRunner:
    """Runs suspects of any number of messages, taking turns at the one child process. Thread-safe."""

    def __init__(
        self,
        settings: JobSettings,
        sessions: Sessions,
        leases: LeaseKeeper,
        pipeline: Pipeline,
        isolation: Isolation,
        requeuer: Requeuer,
        job_metrics: JobMetrics,
        shutdown: ShutdownSignal,
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._leases = leases
        self._pipeline = pipeline
        self._isolation = isolation
        self._requeuer = requeuer
        self._job_metrics = job_metrics
        self._shutdown = shutdown
        self._waiting: set[uuid.UUID] = set()
        self._waiting_lock = threading.Lock()

    def run(self, job_ids: Sequence[uuid.UUID], deadline: float) -> None:
        """Runs the suspects one after another and publishes those again whose turn did not come.

        Each is claimed only when its turn has come, so that a death of this process counts against one job, not all.

        deadline: of the message, by `time.monotonic()`.
        """
        # A job that starts late would be killed at the deadline and blamed for it.
        last_start = deadline - self._settings.chunk_deadline_s / 2

        def is_over() -> bool:
            return self._shutdown.is_stopping or time.monotonic() > last_start

        with self._register(job_ids) as remaining:
            while remaining:
                with self._isolation.turn(is_over) as has_turn:
                    if not has_turn:
                        break
                    self._run_one(remaining.pop(0), is_over, deadline)
        if remaining:
            self._requeuer.publish(remaining)

    @contextlib.contextmanager
    def _register(self, job_ids: Sequence[uuid.UUID]) -> Iterator[list[uuid.UUID]]:
        """Yields those of the jobs that wait in no other message: the sweeper republishes jobs that wait for long."""
        with self._waiting_lock:
            remaining = [job_id for job_id in job_ids if job_id not in self._waiting]
            self._waiting.update(remaining)
        ours = frozenset(remaining)
        try:
            yield remaining
        finally:
            self._unregister(ours)

    def _unregister(self, job_ids: Collection[uuid.UUID]) -> None:
        with self._waiting_lock:
            self._waiting.difference_update(job_ids)

    def _run_one(self, job_id: uuid.UUID, is_over: Callable[[], bool], deadline: float) -> None:
        # Before its run: afterwards it may be published again, and must not be mistaken for a job that waits here.
        self._unregister([job_id])
        for claim in self._claim(job_id, is_over):
            claimed_at = time.monotonic()
            with self._leases.hold([claim]), log_context(job_id=claim.id, request_id=claim.request_id):
                self._job_metrics.record(claim, self._run_isolated(claim, deadline), claimed_at)

    def _claim(self, job_id: uuid.UUID, is_over: Callable[[], bool]) -> list[Claim]:
        def claim() -> list[Claim]:
            with self._sessions.begin() as session:
                return lifecycle.claim(session, [job_id], self._settings.lease_s, self._settings.max_crashes)

        try:
            return retry_while_unavailable(claim, is_over)
        except UNAVAILABLE as error:
            log.warning("suspect_left_to_sweeper", job_id=str(job_id), why=type(error).__name__)
            return []

    def _run_isolated(self, claim: Claim, deadline: float) -> JobOutcome | None:
        end, outcome = self._isolation.run(claim, lambda: self._shutdown.is_releasing, deadline)
        match end:
            case RunEnd.DONE:
                return outcome
            case RunEnd.STOPPED:
                return self._requeuer.release(claim)
            case RunEnd.NOT_STARTED:
                error = ModelUnavailable("no process could be started for this job; it is retried")
                return self._pipeline.fail(claim, error)
            case RunEnd.DIED:
                return self._requeuer.count_crash(claim)

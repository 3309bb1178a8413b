"""Consumes messages: claims their jobs, runs them side by side, and releases what a stopping worker cannot finish."""

from __future__ import annotations

import concurrent.futures
import time
import uuid
from collections.abc import Collection, Sequence
from concurrent.futures import Executor, Future

from core.db.engine import Sessions
from core.errors import DeadlineExceeded
from core.jobs import lifecycle
from core.jobs.lifecycle import Claim
from core.settings import JobSettings
from core.telemetry.logs import get_logger, log_context
from worker.job_metrics import JobMetrics, JobOutcome
from worker.leases import LeaseKeeper
from worker.pipeline import Pipeline
from worker.process.db_retry import retry_while_unavailable
from worker.process.shutdown import ShutdownSignal
from worker.requeue import Requeuer
from worker.suspects import SuspectRunner

log = get_logger(__name__)

POLL_S = 0.2


class Consumer:
    """Runs the jobs of messages until the shutdown signal is raised. Thread-safe."""

    def __init__(
        self,
        settings: JobSettings,
        sessions: Sessions,
        leases: LeaseKeeper,
        pipeline: Pipeline,
        suspects: SuspectRunner,
        requeuer: Requeuer,
        executor: Executor,
        job_metrics: JobMetrics,
        shutdown: ShutdownSignal,
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._leases = leases
        self._pipeline = pipeline
        self._suspects = suspects
        self._requeuer = requeuer
        self._executor = executor
        self._job_metrics = job_metrics
        self._shutdown = shutdown
        self._abandoned: set[Future[None]] = set()

    @property
    def is_idle(self) -> bool:
        """Whether no thread still runs a job that was taken away from it."""
        return all(future.done() for future in self._abandoned)

    def run(self, job_ids: Sequence[uuid.UUID]) -> None:
        """Runs those of the jobs that are free. Returns when this worker holds none of them any more."""
        deadline = time.monotonic() + self._settings.chunk_deadline_s
        claims, suspects = self._claim(job_ids, deadline)
        claimed_at = time.monotonic()
        with self._leases.hold(claims):
            running = {self._executor.submit(self._run_one, each, claimed_at): each for each in claims}
            self._suspects.run(suspects, deadline)
            self._wait(running.keys(), deadline)
            for future, claim in running.items():
                with log_context(job_id=claim.id, request_id=claim.request_id):
                    self._job_metrics.record(claim, self._close(future, claim), claimed_at)

    def _claim(self, job_ids: Sequence[uuid.UUID], deadline: float) -> tuple[list[Claim], list[uuid.UUID]]:
        """Claims the jobs that may run side by side. Returns them, and the ids of suspects, which it does not claim."""
        isolate_from, max_crashes = self._settings.alone_after_crashes, self._settings.max_crashes

        def claim() -> tuple[list[Claim], list[uuid.UUID]]:
            with self._sessions.begin() as session:
                claims = lifecycle.claim(
                    session, job_ids, self._settings.lease_s, max_crashes, crashes_below=isolate_from
                )
                claimed = {each.id for each in claims}
                rest = [job_id for job_id in job_ids if job_id not in claimed]
                return claims, lifecycle.suspects(session, rest, isolate_from, max_crashes) if rest else []

        return retry_while_unavailable(claim, lambda: self._is_over(deadline))

    def _run_one(self, claim: Claim, claimed_at: float) -> None:
        with log_context(job_id=claim.id, request_id=claim.request_id):
            outcome = self._requeuer.release(claim) if self._shutdown.is_stopping else self._pipeline.run(claim)
        self._job_metrics.record(claim, outcome, claimed_at)

    def _is_over(self, deadline: float) -> bool:
        return self._shutdown.is_releasing or time.monotonic() > deadline

    def _wait(self, running: Collection[Future[None]], deadline: float) -> None:
        """Returns when all have ended or their time is up."""
        pending: Collection[Future[None]] = running
        while pending and not self._is_over(deadline):
            pending = concurrent.futures.wait(pending, timeout=POLL_S).not_done

    def _close(self, future: Future[None], claim: Claim) -> JobOutcome | None:
        """Takes a job that has not ended away from its thread. Returns None if the thread recorded the outcome."""
        if not future.done() or future.cancelled():
            return self._take_away(future, claim)
        if error := future.exception():
            # Not even the failure could be written. The lease expires, and another worker takes the job.
            log.error("job_abandoned", job_id=str(claim.id), why=repr(error))
        return None

    def _take_away(self, future: Future[None], claim: Claim) -> JobOutcome | None:
        self._leases.drop(claim)  # its thread gives up at the next stage
        if not future.cancel():
            self._abandoned = {each for each in self._abandoned if not each.done()} | {future}
        if self._shutdown.is_releasing:
            return self._requeuer.release(claim)
        return self._pipeline.fail(claim, DeadlineExceeded("the job's chunk took too long; the job is retried"))

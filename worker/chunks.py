"""What a message asks for: claim its jobs, work on them side by side, give back what a stopping worker cannot do."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import Executor

from jobs import lifecycle
from jobs.database import Sessions
from jobs.lifecycle import Claim
from jobs.logs import get_logger
from jobs.queue import Publisher, QueueUnavailable
from jobs.tables import Lane
from worker.leases import LeaseKeeper
from worker.pipeline import Pipeline

log = get_logger(__name__)


class Chunks:
    """Runs messages. `stop()` lets jobs that have begun end, and gives back those that have not."""

    def __init__(
        self,
        sessions: Sessions,
        publisher: Publisher,
        pipeline: Pipeline,
        leases: LeaseKeeper,
        executor: Executor,
        lease_s: float,
    ) -> None:
        self._sessions = sessions
        self._publisher = publisher
        self._pipeline = pipeline
        self._leases = leases
        self._executor = executor
        self._lease_s = lease_s
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()

    def run(self, job_ids: Sequence[uuid.UUID]) -> None:
        """Brings those of the jobs that are free to their end. Returns when none of them is ours any more."""
        with self._sessions.begin() as session:
            claims = lifecycle.claim(session, job_ids, self._lease_s)
        with self._leases.hold(claims):
            if len(claims) == 1:
                self._run_one(claims[0])
            else:
                list(self._executor.map(self._run_one, claims))

    def _run_one(self, claim: Claim) -> None:
        if self._stopping.is_set():
            self._give_back(claim)
        else:
            self._pipeline.run(claim)

    def _give_back(self, claim: Claim) -> None:
        with self._sessions.begin() as session:
            is_ours = lifecycle.release(session, claim)
        if is_ours:
            self._publish(claim.id, claim.lane)
            log.info("job_given_back", job_id=str(claim.id))

    def _publish(self, job_id: uuid.UUID, lane: Lane) -> None:
        try:
            self._publisher.publish([job_id], lane, dt.datetime.now(dt.UTC))
        except QueueUnavailable:
            log.warning("publish_failed", job_id=str(job_id))

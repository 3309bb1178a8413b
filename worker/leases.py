"""Renews the leases of the jobs this process works on, and notices which of them it has lost.

A lease is lost when the job was canceled, or when Postgres was unavailable for longer than the lease and another worker
took the job. Continuing would do no harm, because the final write is fenced, but it would be wasted work.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence

from core.db.engine import Sessions
from core.db.errors import STATEMENT_FAILED
from core.jobs import lifecycle
from core.jobs.lifecycle import Claim
from core.telemetry.logs import get_logger

log = get_logger(__name__)


class LeaseKeeper:
    """Renews all held leases every `renew_every_s` seconds in one thread. Thread-safe.

    on_lost: called for each lease that turns out to be lost.
    """

    def __init__(
        self, sessions: Sessions, *, lease_s: float, renew_every_s: float, on_lost: Callable[[], None] = lambda: None
    ) -> None:
        self._on_lost = on_lost
        self._sessions = sessions
        self._lease_s = lease_s
        self._renew_every_s = renew_every_s
        self._held: dict[uuid.UUID, Claim] = {}
        self._finishing: set[Claim] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()

    @contextlib.contextmanager
    def hold(self, claims: Sequence[Claim]) -> Iterator[None]:
        """Renews the claims' leases while the block runs; each until it is finished or dropped."""
        with self._lock:
            self._held |= {claim.id: claim for claim in claims}
        try:
            yield
        finally:
            for claim in claims:
                self.drop(claim)

    @contextlib.contextmanager
    def finishing(self, claim: Claim) -> Iterator[None]:
        """Surrounds the write of a job's end, which checks for itself whether the lease is still ours.

        While the block runs, a failed renewal does not count as a lost lease: our own transaction holds the row, or
        has just ended the job. The lease is dropped when the block ends, and kept if it raises.
        """
        with self._lock:
            if self._holds(claim):
                self._finishing.add(claim)
        try:
            yield
        except BaseException:
            with self._lock:
                self._finishing.discard(claim)
            raise
        self.drop(claim)

    def drop(self, claim: Claim) -> None:
        """Stops renewing one lease, unless a later attempt at the same job is held by now."""
        with self._lock:
            self._finishing.discard(claim)
            if self._holds(claim):
                del self._held[claim.id]

    def is_held(self, claim: Claim) -> bool:
        """Whether the job was still ours at the last renewal."""
        with self._lock:
            return self._holds(claim)

    def count(self) -> int:
        """Returns the number of held leases."""
        return len(self._held)

    def renew(self) -> None:
        """Renews all held leases in one statement, and drops those that Postgres no longer attributes to us."""
        with self._lock:
            held = list(self._held.values())
        if not held:
            return
        with self._sessions.begin() as session:
            ours = lifecycle.renew(session, [(claim.id, claim.attempt) for claim in held], self._lease_s)
        with self._lock:
            for claim in held:
                if claim.id not in ours and self._holds(claim) and claim not in self._finishing:
                    del self._held[claim.id]
                    self._on_lost()
                    log.info("lease_lost", job_id=str(claim.id), request_id=claim.request_id)

    def _holds(self, claim: Claim) -> bool:
        held = self._held.get(claim.id)
        return held is not None and held.attempt == claim.attempt

    def _run(self) -> None:
        while not self._stopping.wait(self._renew_every_s):
            try:
                self.renew()
            except STATEMENT_FAILED as error:
                # The leases last for several rounds; the next one may reach Postgres again.
                log.warning("lease_renewal_failed", why=type(error).__name__)

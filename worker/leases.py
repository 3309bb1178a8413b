"""Keeps the leases of the jobs this process works on, and tells which of them it has lost.

A job is lost when somebody canceled it, or when Postgres was away for longer than the lease and another worker took the
job. Working on would harm nothing (the final write is fenced), but it would be for nothing.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.db.engine import Sessions
from core.jobs import lifecycle
from core.jobs.lifecycle import Claim
from core.telemetry.logs import get_logger

log = get_logger(__name__)


class LeaseKeeper:
    """One thread that renews every `renew_every_s` what is held. Thread-safe.

    on_lost: called for each job that turns out to be ours no more.
    """

    def __init__(
        self, sessions: Sessions, *, lease_s: float, renew_every_s: float, on_lost: Callable[[], None] = lambda: None
    ) -> None:
        self._on_lost = on_lost
        self._sessions = sessions
        self._lease_s = lease_s
        self._renew_every_s = renew_every_s
        self._held: dict[uuid.UUID, Claim] = {}
        self._ending: set[Claim] = set()
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
        """Renews the claims' leases for as long as the block runs, or until `drop`."""
        with self._lock:
            self._held |= {claim.id: claim for claim in claims}
        try:
            yield
        finally:
            for claim in claims:
                self.drop(claim)

    def drop(self, claim: Claim) -> None:
        """Ends the renewing of one claim, unless a later attempt at the same job is held by now."""
        with self._lock:
            self._ending.discard(claim)
            if self._holds(claim):
                del self._held[claim.id]

    def ending(self, claim: Claim) -> None:
        """Its end is about to be written, which finds out by itself whether it still is ours; until `drop`."""
        with self._lock:
            if self._holds(claim):  # else nobody would drop it any more
                self._ending.add(claim)

    def is_held(self, claim: Claim) -> bool:
        """Whether the job was still ours at the last renewal."""
        with self._lock:
            return self._holds(claim)

    def _holds(self, claim: Claim) -> bool:
        held = self._held.get(claim.id)
        return held is not None and held.attempt == claim.attempt

    def count(self) -> int:
        """How many jobs are held."""
        return len(self._held)

    def _run(self) -> None:
        while not self._stopping.wait(self._renew_every_s):
            try:
                self.renew()
            except (DBAPIError, PoolTimeout) as error:
                # The leases run on for a while; the next round may find Postgres again.
                log.warning("lease_renewal_failed", why=type(error).__name__)

    def renew(self) -> None:
        """Renews all that is held, in one statement. What Postgres no longer knows as ours is dropped."""
        with self._lock:
            held = list(self._held.values())
        if not held:
            return
        with self._sessions.begin() as session:
            ours = lifecycle.renew(session, [(claim.id, claim.attempt) for claim in held], self._lease_s)
        with self._lock:
            for claim in held:
                # A row that we are ending is locked, or no longer in progress: that is no loss.
                if claim.id not in ours and self._holds(claim) and claim not in self._ending:
                    del self._held[claim.id]
                    self._on_lost()
                    log.info("lease_lost", job_id=str(claim.id), request_id=claim.request_id)

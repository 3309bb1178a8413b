"""The limit on queued jobs per owner, counted in Postgres."""

from __future__ import annotations

import dataclasses
import threading
import time

from sqlalchemy import func, literal, select

from core.db.engine import Sessions
from core.db.models import Job
from core.errors import TooManyQueued
from core.states import Status

RECOUNT_EVERY_S = 1.0
"""How long a count is reused. Counting 100,000 rows takes about 40 ms, too long for each request.

Between counts each process counts down locally, so several processes together may exceed the limit within this second.
"""


@dataclasses.dataclass
class _Allowance:
    left: int
    counted_at: float


class QueuedQuota:
    """Allows each owner `limit` queued jobs. Thread-safe; one per process."""

    def __init__(self, sessions: Sessions, limit: int) -> None:
        self._sessions = sessions
        self._limit = limit
        self._lock = threading.Lock()
        self._allowances: dict[str, _Allowance] = {}

    def take(self, owner_id: str, count: int = 1) -> None:
        """Reserves `count` jobs that are about to be created. Raises TooManyQueued."""
        if self._take_from_last_count(owner_id, count):
            return
        counted_at = time.monotonic()
        left = self._limit - self._count(owner_id)
        if left < count:
            raise TooManyQueued(
                f"you may have {self._limit} queued jobs, and {count} more would exceed this limit; "
                "try again when some have finished"
            )
        with self._lock:
            self._allowances[owner_id] = _Allowance(left - count, counted_at)

    def _take_from_last_count(self, owner_id: str, count: int) -> bool:
        with self._lock:
            known = self._allowances.get(owner_id)
            if known is None or known.left < count or time.monotonic() - known.counted_at > RECOUNT_EVERY_S:
                return False
            known.left -= count
            return True

    def _count(self, owner_id: str) -> int:
        # LIMIT bounds the number of rows that are read.
        queued = select(literal(1)).where(Job.owner_id == owner_id, Job.status == Status.QUEUED).limit(self._limit)
        with self._sessions() as session:
            return session.scalar(select(func.count()).select_from(queued.subquery())) or 0

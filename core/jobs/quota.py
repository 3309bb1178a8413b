"""The cap on waiting jobs per owner, counted in Postgres."""

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
"""Counting 100,000 rows takes some 40 ms, too much for each request of a caller with a long queue: in between a process
counts down by itself. What other processes accept within this second may so go over the cap."""


@dataclasses.dataclass
class _Room:
    left: int
    counted_at: float


class QueuedQuota:
    """Gives each owner room for `limit` queued jobs. Thread-safe; one per process."""

    def __init__(self, sessions: Sessions, limit: int) -> None:
        self._sessions = sessions
        self._limit = limit
        self._lock = threading.Lock()
        self._rooms: dict[str, _Room] = {}

    def take(self, owner_id: str, count: int = 1) -> None:
        """Takes room for `count` jobs that are about to be made. Raises TooManyQueued."""
        if self._take_known(owner_id, count):
            return
        counted_at = time.monotonic()
        left = self._limit - self._count(owner_id)
        if left < count:
            raise TooManyQueued(
                f"{self._limit} jobs of yours may wait at a time, and there is no room for {count} more; "
                "try again when some have ended"
            )
        with self._lock:
            self._rooms[owner_id] = _Room(left - count, counted_at)

    def _take_known(self, owner_id: str, count: int) -> bool:
        with self._lock:
            room = self._rooms.get(owner_id)
            if room is None or room.left < count or time.monotonic() - room.counted_at > RECOUNT_EVERY_S:
                return False
            room.left -= count
            return True

    def _count(self, owner_id: str) -> int:
        # Never more rows than matter are walked over.
        queued = select(literal(1)).where(Job.owner_id == owner_id, Job.status == Status.QUEUED).limit(self._limit)
        with self._sessions() as session:
            return session.scalar(select(func.count()).select_from(queued.subquery())) or 0

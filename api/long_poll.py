"""Requests that wait for a job: one LISTEN connection per process hands the ids of ended jobs to those who wait.

No database connection is held while waiting. While the listening connection is down the waiters look for themselves
about once a second; while it is up they look now and then all the same, since a dead network tells nobody.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from core.db.listener import Listener
from core.jobs.lifecycle import CHANNEL

LOOK_EVERY_S = 10.0
"""How often a waiter looks for itself while the listener is up."""

LOOK_EVERY_WITHOUT_LISTENER_S = 1.0

T = TypeVar("T")


class Waiting:
    """Lets at most `capacity` threads wait for jobs at once. Thread-safe; connects when somebody first waits."""

    def __init__(self, url: str, capacity: int) -> None:
        self._slots = threading.BoundedSemaphore(capacity)
        self._lock = threading.Lock()
        self._events: dict[uuid.UUID, set[threading.Event]] = defaultdict(set)
        # What ended while nobody listened was told to nobody: after a reconnect all look for themselves.
        self._listener = Listener(url, CHANNEL, heard=self._wake, connected=self._wake_all)
        self._is_closed = threading.Event()

    def wait(self, job_id: uuid.UUID, timeout_s: float, look: Callable[[], T | None]) -> tuple[bool, T | None]:
        """Calls `look` until it answers something, at most for `timeout_s`.

        `look` reads the record and answers None while the job goes on. Returns whether there was room to wait, and the
        last look; without room nothing is looked at.
        """
        if self._is_closed.is_set() or not self._slots.acquire(blocking=False):
            return False, None
        try:
            self._ensure_listener()
            with self._subscribed(job_id) as event:
                return True, self._wait(event, time.monotonic() + timeout_s, look)
        finally:
            self._slots.release()

    def _wait(self, event: threading.Event, deadline: float, look: Callable[[], T | None]) -> T | None:
        # Looked at only after subscribing: a job that ends in between has set the event already.
        seen = look()
        while seen is None and not self._is_closed.is_set() and (left := deadline - time.monotonic()) > 0:
            pause = LOOK_EVERY_S if self._listener.is_listening.is_set() else LOOK_EVERY_WITHOUT_LISTENER_S
            event.wait(min(left, pause))
            event.clear()
            seen = look()
        return seen

    @contextmanager
    def _subscribed(self, job_id: uuid.UUID) -> Iterator[threading.Event]:
        event = threading.Event()
        with self._lock:
            self._events[job_id].add(event)
        try:
            yield event
        finally:
            with self._lock:
                self._events[job_id].discard(event)
                if not self._events[job_id]:
                    del self._events[job_id]

    def count(self) -> int:
        """How many wait now."""
        with self._lock:
            return sum(map(len, self._events.values()))

    def close(self) -> None:
        """Lets all waiters go with what they have; nobody can wait any more."""
        self._is_closed.set()
        self._wake_all()
        self._listener.close()

    def release(self) -> None:
        """As `close`, but does not wait for the listening thread: for a process that is told to stop."""
        self._is_closed.set()
        self._wake_all()
        self._listener.close(wait=False)

    def _ensure_listener(self) -> None:
        # Not in __init__: a thread does not survive gunicorn's fork.
        with self._lock:
            self._listener.start()

    def _wake(self, payload: str) -> None:
        try:
            job_id = uuid.UUID(payload)
        except ValueError:
            return
        with self._lock:
            for event in self._events.get(job_id, ()):
                event.set()

    def _wake_all(self) -> None:
        with self._lock:
            for events in self._events.values():
                for event in events:
                    event.set()

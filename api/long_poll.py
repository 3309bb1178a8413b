"""Long polling: requests that wait until a job is finished.

One LISTEN connection per process receives the ids of finished jobs and wakes the requests that wait for them. No other
database connection is held while waiting. While the LISTEN connection is down, waiting requests poll the database about
once a second. They also poll occasionally while it is up, because a dropped network connection can go unnoticed.
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

POLL_S = 10.0
"""How often a waiting request polls the database while the listener is up."""

POLL_WITHOUT_LISTENER_S = 1.0

T = TypeVar("T")


class LongPoll:
    """Lets up to `capacity` threads wait for jobs at once. Thread-safe; connects on the first wait."""

    def __init__(self, url: str, capacity: int) -> None:
        self._slots = threading.BoundedSemaphore(capacity)
        self._lock = threading.Lock()
        self._events: dict[uuid.UUID, set[threading.Event]] = defaultdict(set)
        # Notifications sent while disconnected are lost, so after a reconnect every waiting request polls once.
        self._listener = Listener(url, CHANNEL, on_notify=self._wake, on_connect=self._wake_all)
        self._is_closed = threading.Event()

    def wait(self, job_id: uuid.UUID, timeout_s: float, poll: Callable[[], T | None]) -> tuple[bool, T | None]:
        """Calls `poll` until it returns a result, for up to `timeout_s`.

        `poll` reads the database and returns None while the job is unfinished. Returns whether a waiting slot was free,
        and the last result of `poll`. Without a free slot `poll` is not called.
        """
        if self._is_closed.is_set() or not self._slots.acquire(blocking=False):
            return False, None
        try:
            self._ensure_listener()
            with self._subscribed(job_id) as event:
                return True, self._wait(event, time.monotonic() + timeout_s, poll)
        finally:
            self._slots.release()

    def _wait(self, event: threading.Event, deadline: float, poll: Callable[[], T | None]) -> T | None:
        # The first poll comes after subscribing: a job that finishes in between has already set the event.
        result = poll()
        while result is None and not self._is_closed.is_set() and (left := deadline - time.monotonic()) > 0:
            interval = POLL_S if self._listener.is_listening.is_set() else POLL_WITHOUT_LISTENER_S
            event.wait(min(left, interval))
            event.clear()
            result = poll()
        return result

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
        """Returns the number of waiting requests."""
        with self._lock:
            return sum(map(len, self._events.values()))

    def close(self) -> None:
        """Ends all waits and rejects new ones. Joins the listener thread."""
        self._is_closed.set()
        self._wake_all()
        self._listener.close()

    def release(self) -> None:
        """Like `close`, but does not join the listener thread. For use during shutdown."""
        self._is_closed.set()
        self._wake_all()
        self._listener.close(wait=False)

    def _ensure_listener(self) -> None:
        # Not in __init__: a thread would not survive gunicorn's fork.
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

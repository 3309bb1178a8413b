"""A thread that listens on a NOTIFY channel and reconnects until it is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg

from core.db.timeouts import TCP_OPTIONS, BoundedConnection
from core.telemetry.logs import get_logger

log = get_logger(__name__)

RECONNECT_AFTER_S = 1.0
STOP_CHECK_S = 0.5


class Listener:
    """Hands the payloads of a NOTIFY channel on. Nothing is on_connect before `start`.

    Args:
        url: a direct connection to Postgres; LISTEN does not work through a transaction pooler.
        on_notify: called in the listener's thread with each payload.
        on_connect: called in the listener's thread after each (re)connect; notifications in between were missed.
    """

    def __init__(
        self, url: str, channel: str, on_notify: Callable[[str], None], on_connect: Callable[[], None] = lambda: None
    ) -> None:
        self._url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._channel = channel
        self._on_notify = on_notify
        self._on_connect = on_connect
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None
        self.is_listening = threading.Event()

    def start(self) -> None:
        """Starts the thread unless it is running. Not thread-safe."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_listening, name="listener", daemon=True)
            self._thread.start()

    def close(self, *, wait: bool = True) -> None:
        """Stops the thread and, unless `wait` is False, waits for its end."""
        self._is_closed.set()
        if wait and self._thread is not None:
            self._thread.join()

    def _keep_listening(self) -> None:
        while not self._is_closed.is_set():
            try:
                self._listen()
            except (psycopg.Error, OSError) as error:
                log.warning("listener_lost", error=type(error).__name__)
            self.is_listening.clear()
            self._is_closed.wait(RECONNECT_AFTER_S)

    def _listen(self) -> None:
        with BoundedConnection.connect(self._url, autocommit=True, connect_timeout=5, **TCP_OPTIONS) as connection:
            connection.execute(f"LISTEN {self._channel}")
            self.is_listening.set()
            self._on_connect()
            while not self._is_closed.is_set():
                for notice in connection.notifies(timeout=STOP_CHECK_S):
                    self._on_notify(notice.payload)

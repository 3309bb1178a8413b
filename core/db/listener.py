"""One LISTEN connection in a thread of its own, reconnected as often as it takes."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg

from core.db.timeouts import TCP, BoundedConnection
from core.telemetry.logs import get_logger

log = get_logger(__name__)

RECONNECT_AFTER_S = 1.0
STOP_CHECK_S = 0.5


class Listener:
    """Hands the payloads of a NOTIFY channel on. Nothing is connected before `start`.

    Args:
        url: Postgres itself; a transaction pooler cannot LISTEN.
        heard: called in the listener's thread for each payload.
        connected: called there after each (re)connect: what was told in between was told to nobody.
    """

    def __init__(
        self, url: str, channel: str, heard: Callable[[str], None], connected: Callable[[], None] = lambda: None
    ) -> None:
        self._url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._channel = channel
        self._heard = heard
        self._connected = connected
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None
        self.is_listening = threading.Event()

    def start(self) -> None:
        """Starts the thread if it does not run. Not to be called by several threads at once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_listening, name="listener", daemon=True)
            self._thread.start()

    def close(self, *, wait: bool = True) -> None:
        """Ends the thread, and waits until it has ended."""
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
        with BoundedConnection.connect(self._url, autocommit=True, connect_timeout=5, **TCP) as connection:
            connection.execute(f"LISTEN {self._channel}")
            self.is_listening.set()
            self._connected()
            while not self._is_closed.is_set():
                for notice in connection.notifies(timeout=STOP_CHECK_S):
                    self._heard(notice.payload)

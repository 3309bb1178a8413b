"""Runs the application under gunicorn: one process, request threads, graceful shutdown on SIGTERM."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path
from typing import Any

from apiflask import APIFlask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import TConn, ThreadWorker

from api.app import create_app
from api.services import services_of
from core.loopback import refuse_exposure
from core.settings import Settings
from core.telemetry.logs import configure_logs
from core.telemetry.tracing import check_tracing, start_exporting

KEEP_ALIVE_S = 75
"""Longer than the idle timeout of common load balancers (60 s). Otherwise they would reuse a connection that has just
been closed here."""

GRACEFUL_S = 25
"""Time for requests in flight after SIGTERM. Below the 30 s that Kubernetes grants."""

HEADERS_TIMEOUT_S = 10


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then raises SystemExit.

    Raises StartError if the settings are unsafe, such as listening on a network without requiring API keys.
    """
    refuse_exposure(settings.api.host, require_key=settings.api.require_key)
    check_tracing(settings.tracing)
    configure_logs(settings, "api")
    _Server(settings).run()


class Worker(ThreadWorker):
    """gunicorn's threaded worker with two additions.

    On shutdown, requests that wait for a job respond immediately with its current state. And reading a request has a
    time limit: gunicorn's sockets have no timeout after the first byte, so a client that disappears during an upload,
    or sends one byte per minute, would block a thread forever.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._read_until: dict[TConn, float] = {}

    def handle(self, conn: TConn) -> Any:
        limit_s = services_of(self.wsgi).settings.api.read_timeout_s
        self._read_until[conn] = time.monotonic() + min(limit_s, HEADERS_TIMEOUT_S)
        try:
            return super().handle(conn)
        finally:
            self._read_until.pop(conn, None)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        # The headers have arrived; the application reads the body next.
        self._read_until[conn] = time.monotonic() + services_of(self.wsgi).settings.api.read_timeout_s
        return super().handle_request(req, conn)

    def notify(self) -> None:
        """Ends reads that exceed their limit. Called about once a second by the main loop."""
        super().notify()
        now = time.monotonic()
        for conn, read_until in list(self._read_until.items()):
            if now > read_until:
                # Shuts down the reading side only, so that a slow response is still sent.
                with contextlib.suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RD)

    def handle_exit(self, sig: int, frame: Any) -> None:
        super().handle_exit(sig, frame)
        # Deferred to the main loop, because a signal handler must not take locks.
        self.method_queue.defer(services_of(self.wsgi).long_poll.release)


class EventLogger(Logger):
    """Sends gunicorn's log lines through our formatter. The access log is the event `request_served`."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class _Server(BaseApplication):
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        api = self._settings.api
        memory = Path("/dev/shm")  # noqa: S108 - for gunicorn's heartbeat file, which must not wait for a disk
        values = {
            "bind": f"{f'[{api.host}]' if ':' in api.host else api.host}:{api.port}",
            "workers": 1,
            "threads": api.threads,
            "worker_class": Worker,
            "logger_class": EventLogger,
            "loglevel": self._settings.log_level,
            "keepalive": KEEP_ALIVE_S,
            "graceful_timeout": GRACEFUL_S,
            "worker_tmp_dir": str(memory) if memory.is_dir() else None,
            "control_socket_disable": True,
            "proc_name": "enrich-api",
        }
        for name, value in values.items():
            self.cfg.set(name, value)

    def load(self) -> APIFlask:
        # gunicorn calls this in the worker process, after the fork, where threads and connections must be created.
        start_exporting(self._settings.tracing, "api")
        return create_app(self._settings)

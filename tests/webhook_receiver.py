"""A real HTTP server that takes webhooks, well and in every bad way; it keeps what arrived.

    with Receiver() as receiver:
        receiver.behave = answer(503, Retry_After="120")

`behave` is called with the handler for each request; it may change at any time. `stop()` and `start()` take the server
away and bring it back at the same port.
"""

from __future__ import annotations

import dataclasses
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from standardwebhooks import Webhook


@dataclasses.dataclass(frozen=True)
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def event_id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> dict[str, Any]:
        """The body, if its signature is of this secret; raises WebhookVerificationError."""
        document: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return document


Behave = Callable[["Handler"], None]


class Receiver:
    """Listens on a free port of 127.0.0.1 until the `with` block ends."""

    def __init__(self, behave: Behave | None = None) -> None:
        self.received: list[Received] = []
        self.behave: Behave = behave or answer(204)
        self.stopping = threading.Event()
        self.port = 0
        self._server: _Server | None = None
        self._thread = threading.Thread()

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def event_ids(self) -> list[str]:
        return [each.event_id for each in self.received]

    def start(self) -> None:
        self.stopping.clear()
        self._server = _Server(("127.0.0.1", self.port), Handler)
        self._server.receiver = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """From now on connections are refused."""
        self.stopping.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    receiver: Receiver

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: connections that break are what this server is for."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without Nagle's algorithm: an answer's head and body are two writes.
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:  # its sender was killed half-way: no server would take that for a request
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.receiver.received.append(Received(self.path, headers, body, time.time()))
        self.server.receiver.behave(self)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @property
    def is_stopping(self) -> bool:
        return self.server.receiver.stopping.is_set()

    def pause(self, seconds: float) -> None:
        self.server.receiver.stopping.wait(seconds)


def answer(status: int, body: bytes = b"", **headers: str) -> Behave:
    """Always this answer; underscores in the headers' names are dashes."""
    return lambda handler: handler.answer(status, body, **headers)


def hang(handler: Handler) -> None:
    """No answer."""
    handler.pause(60)
    handler.close_connection = True


def reset(handler: Handler) -> None:
    """A TCP reset instead of an answer."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def drip(handler: Handler) -> None:
    """A success whose body comes byte by byte, for ever."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while not handler.is_stopping:
        handler.wfile.write(b"x")
        handler.pause(0.05)


def endless(handler: Handler) -> None:
    """A success with a body without end."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while not handler.is_stopping:
        handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")


def alternating(*behaviours: Behave) -> Behave:
    """One after the other, and around again."""
    lock, count = threading.Lock(), [0]

    def behave(handler: Handler) -> None:
        with lock:
            chosen = behaviours[count[0] % len(behaviours)]
            count[0] += 1
        chosen(handler)

    return behave

"""A server that answers with exact bytes: everything that HTTP libraries cannot be made to send.

`with OddServer(answers) as server: server.url("/name")`. An answer is raw bytes, or a function from the request to
them. The connection is closed afterwards, unless the answer is `KeptOpen`.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Request:
    """A received request. Names of headers are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""


class KeptOpen(bytes):
    """An answer after which the server waits for the next request."""


Answer = bytes | Callable[[Request], bytes]


class OddServer:
    """Serves on a free port of 127.0.0.1 until the `with` block ends."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            _hang_up(connection)
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:  # closed
                return
            self.connections += 1
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            while request := _read_request(connection):
                self.requests.append(request)
                answer = self._answers.get(request.target.partition("?")[0], NOT_FOUND)
                raw = answer(request) if callable(answer) else answer
                connection.sendall(raw)
                if not isinstance(raw, KeptOpen):
                    break
        except OSError:  # the client hung up
            pass
        finally:
            self._open.discard(connection)
            _hang_up(connection)


def _read_request(connection: socket.socket) -> Request | None:
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65536)
        if not part:
            return None
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    method, target, _ = first.split(" ")
    return Request(method, target, headers, body)


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

"""A web server whose pictures take as long as the address says, and are each of their own bytes."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tests import pictures


class SlowPictures:
    """`url(number, delay_s)` on a free port of 127.0.0.1, until the `with` block ends."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.stopping = self.stopping
        self._server.picture = pictures.jpeg()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def url(self, number: int, delay_s: float = 0) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/{number}.jpg?delay={delay_s}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    stopping: threading.Event
    picture: bytes


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        self.server.stopping.wait(float(parse_qs(address.query)["delay"][0]))
        # Bytes after the end of a JPEG are no part of the picture: an asset of its own, so no stored answer is used.
        body = self.server.picture + address.path.encode()
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

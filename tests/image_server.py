"""A real HTTP server that serves pictures well and in every bad way that the internet knows.

`with ImageServer() as server: server.url("/good.jpg")`. Paths: see `_ROUTES`. Each request is counted in
`server.requests` as (path, Host header); `server.connections` counts the sockets that were accepted.
"""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests import pictures

STATUSES = (401, 403, 404, 410, 418, 429, 451, 500, 503)
SECRET = "http://169.254.169.254/latest/meta-data/"


class ImageServer:
    """Serves on a free port of 127.0.0.1 until the `with` block ends; over TLS when a context is given."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[tuple[str, str]] = []
        self.received: list[bytes] = []
        self.connections = 0
        self.stopping = threading.Event()
        self._tls = tls
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

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
    owner: ImageServer

    def process_request(self, request: Any, client_address: Any) -> None:
        self.owner.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.owner.requests.append((self.path, self.headers.get("Host", "")))
        first, _, rest = path.strip("/").partition("/")
        _ROUTES.get(first, _missing)(self, rest)

    def do_POST(self) -> None:
        self.server.owner.received.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.head(status, **{"Content_Length": str(len(body)), **headers})
        self.wfile.write(body)

    def head(self, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def pause(self, seconds: float) -> None:
        self.server.owner.stopping.wait(seconds)

    @property
    def is_stopping(self) -> bool:
        return self.server.owner.stopping.is_set()


def _missing(handler: _Handler, rest: str) -> None:
    handler.answer(b"<html>no such thing</html>", 404, Content_Type="text/html")


def _good(handler: _Handler, rest: str) -> None:
    handler.answer(pictures.jpeg(), Content_Type="image/jpeg")


def _picture(handler: _Handler, rest: str) -> None:
    """/picture/NAME: any of pictures.GOOD or BAD, with a content type that says nothing."""
    make = pictures.GOOD.get(rest) or pictures.BAD[rest][0]
    handler.answer(make(), Content_Type="application/octet-stream")


def _status(handler: _Handler, rest: str) -> None:
    handler.answer(b"sorry" * 400_000, int(rest), Content_Type="text/plain")


def _drip(handler: _Handler, rest: str) -> None:
    """One byte every 50 ms, for ever: each wait is short, the whole is not."""
    handler.head(Content_Length="1000000")
    while not handler.is_stopping:
        handler.wfile.write(b"x")
        handler.pause(0.05)


def _drip_headers(handler: _Handler, rest: str) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not handler.is_stopping:
        handler.wfile.write(b"x")
        handler.pause(0.05)


def _silent(handler: _Handler, rest: str) -> None:
    handler.pause(30)
    handler.close_connection = True


def _slow(handler: _Handler, rest: str) -> None:
    """/slow/SECONDS/NUMBER: a picture after so long, whose bytes are its own: no stored answer fits it."""
    seconds, _, number = rest.partition("/")
    handler.pause(float(seconds))
    # Bytes after the end of a JPEG are no part of the picture.
    handler.answer(pictures.jpeg() + number.encode(), Content_Type="image/jpeg")


def _redirect(handler: _Handler, rest: str) -> None:
    """/redirect/N: N more redirects, then the picture."""
    left = int(rest)
    handler.answer(b"moved", 302, Location=f"/redirect/{left - 1}" if left > 1 else "/good.jpg")


def _loop(handler: _Handler, rest: str) -> None:
    handler.answer(b"", 301, Location="/loop/b" if rest == "a" else "/loop/a")


def _redirect_to(handler: _Handler, rest: str) -> None:
    """/redirect-to?ADDRESS, as it stands."""
    handler.answer(b"", 302, Location=handler.path.partition("?")[2] or SECRET)


def _wrong_type(handler: _Handler, rest: str) -> None:
    handler.answer(pictures.jpeg(), Content_Type="text/html")


def _html(handler: _Handler, rest: str) -> None:
    handler.answer(pictures.BAD["html"][0](), Content_Type="image/jpeg")


def _lying_length(handler: _Handler, rest: str) -> None:
    """Announces ten bytes more than it sends."""
    body = pictures.jpeg()
    handler.close_connection = True
    handler.head(Content_Length=str(len(body) + 10), Connection="close")
    handler.wfile.write(body)


def _truncated(handler: _Handler, rest: str) -> None:
    """Half of the picture, in an answer that is complete as HTTP."""
    body = pictures.jpeg()
    handler.answer(body[: len(body) // 2], Content_Type="image/jpeg")


def _truncated_chunks(handler: _Handler, rest: str) -> None:
    handler.close_connection = True
    handler.head(Transfer_Encoding="chunked", Connection="close")
    handler.wfile.write(b"100\r\nabc")


def _huge(handler: _Handler, rest: str) -> None:
    """/huge/length announces 1 TB; /huge/stream sends chunks without end."""
    if rest == "length":
        handler.head(Content_Length=str(10**12))
        handler.pause(5)
        return
    handler.head(Transfer_Encoding="chunked")
    while not handler.is_stopping:
        handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")


def _reset(handler: _Handler, rest: str) -> None:
    """A TCP reset in the middle of the body."""
    handler.head(Content_Length="1000000")
    handler.wfile.write(b"x" * 1000)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def _hang_up(handler: _Handler, rest: str) -> None:
    handler.close_connection = True


def _gzip(handler: _Handler, rest: str) -> None:
    """/gzip/good, /gzip/bomb (1 KiB per MiB), /gzip/broken, /gzip/brotli."""
    body = gzip.compress({"bomb": bytes(16 * 1024 * 1024)}.get(rest, pictures.jpeg()))
    body = body[:-20] if rest == "broken" else body
    handler.answer(body, Content_Encoding="br" if rest == "brotli" else "gzip")


def _chunked(handler: _Handler, rest: str) -> None:
    handler.head(Transfer_Encoding="chunked")
    body = pictures.jpeg()
    for at in range(0, len(body), 500):
        part = body[at : at + 500]
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
    handler.wfile.write(b"0\r\n\r\n")


def _odd_headers(handler: _Handler, rest: str) -> None:
    body = pictures.jpeg()
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    handler.close_connection = True


_ROUTES: dict[str, Callable[[_Handler, str], None]] = {
    "good.jpg": _good,
    "picture": _picture,
    "status": _status,
    "drip": _drip,
    "drip-headers": _drip_headers,
    "silent": _silent,
    "slow": _slow,
    "redirect": _redirect,
    "loop": _loop,
    "redirect-to": _redirect_to,
    "wrong-type": _wrong_type,
    "html": _html,
    "lying-length": _lying_length,
    "truncated": _truncated,
    "truncated-chunks": _truncated_chunks,
    "huge": _huge,
    "reset": _reset,
    "hang-up": _hang_up,
    "gzip": _gzip,
    "chunked": _chunked,
    "odd-headers": _odd_headers,
}

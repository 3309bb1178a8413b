"""Connections to addresses approved by the SSRF guard, with a deadline for the whole exchange and reuse when idle.

A socket's timeout restarts with every byte, so a server that sends one byte per second could hold a thread forever.
Each wait on the socket, including those for headers, is therefore limited to the time left for the whole exchange.
"""

from __future__ import annotations

import functools
import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, cast

from urllib3 import HTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection

from core.net.response_head import read_head
from core.net.ssrf_guard import Target

Connect = Callable[[str, int, float], socket.socket]
"""(IP address, port, timeout in seconds) -> a connected socket. Raises OSError."""


def connect_to(ip: str, port: int, timeout_s: float) -> socket.socket:
    sock = socket.create_connection((ip, port), timeout_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Deadline:
    """Limits one exchange to `total_s` seconds, and each read within it to `read_timeout_s`."""

    def __init__(self, total_s: float, read_timeout_s: float) -> None:
        self._ends_at = time.monotonic() + total_s
        self._read_timeout_s = read_timeout_s

    def next_timeout_s(self, limit_s: float | None = None) -> float:
        """Returns the timeout for the next wait, always above 0. Raises TimeoutError once the deadline has passed.

        limit_s: replaces `read_timeout_s`, for example while connecting.
        """
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the whole exchange took too long")
        return min(left, self._read_timeout_s if limit_s is None else limit_s)


class _TimedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, raw: io.RawIOBase, deadline: Deadline) -> None:
        self._sock = sock
        self._raw = raw
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # the buffer protocol has no type before Python 3.12
        self._sock.settimeout(self._deadline.next_timeout_s())
        return cast("int | None", self._raw.readinto(buffer))

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    def __init__(
        self,
        sock: socket.socket,
        debuglevel: int = 0,
        method: str | None = None,
        url: str | None = None,
        *,
        deadline: Deadline,
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.fp = io.BufferedReader(_TimedReader(sock, self.fp.detach(), deadline))

    def begin(self) -> None:
        head = read_head(self.fp)
        body, self.fp = self.fp, io.BufferedReader(cast(io.RawIOBase, io.BytesIO(head.framing())))
        try:
            super().begin()
        finally:
            self.fp = body
        self.headers = self.msg = head.message()

    def _get_chunk_left(self) -> int | None:
        if self.chunk_left == 0:  # the end of a chunk: http.client skips two bytes there, but it may be LF alone
            if self.fp.readline(3).strip(b"\r\n"):
                raise http.client.IncompleteRead(b"")
            self.chunk_left = None
        return cast("int | None", super()._get_chunk_left())  # type: ignore[misc]  # not in typeshed


class Connection(HTTPConnection):
    """A urllib3 connection that opens its socket only to an approved IP address."""

    approved_target: Target
    connect_socket: Connect
    connect_timeout_s: float
    deadline: Deadline
    ip: str = ""

    def _new_conn(self) -> socket.socket:
        error: OSError | None = None
        for ip in self.approved_target.ips:
            try:
                sock = self.connect_socket(
                    ip, self.approved_target.port, self.deadline.next_timeout_s(self.connect_timeout_s)
                )
            except OSError as failure:  # if the host has several addresses, the next one may work
                error = failure
                continue
            self.ip = ip
            return sock
        raise error or OSError("no address")

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # same signature as in urllib3
        response_class = functools.partial(_TimedResponse, deadline=self.deadline)
        self.response_class = cast("type[http.client.HTTPResponse]", response_class)
        return super().getresponse()


class _SecureConnection(Connection, HTTPSConnection):
    pass


class ConnectionPool:
    """Opens connections and keeps up to `max_idle` idle ones; the least recently used is closed first. Thread-safe."""

    def __init__(self, connect: Connect, tls: ssl.SSLContext, connect_timeout_s: float, max_idle: int) -> None:
        self._connect = connect
        self._tls = tls
        self._connect_timeout_s = connect_timeout_s
        self._max_idle = max_idle
        self._idle: list[Connection] = []  # least recently used first; a few dozen at most, so a scan is cheap
        self._lock = threading.Lock()

    def take(self, target: Target, deadline: Deadline) -> Connection:
        """Returns an idle connection to the target, or a new one that is not yet connected."""
        return _prepared(self._take_idle(target) or self._new(target), deadline)

    def open(self, target: Target, deadline: Deadline) -> Connection:
        """Returns a new connection to the target that is not yet connected."""
        return _prepared(self._new(target), deadline)

    def release(self, connection: Connection, *, is_reusable: bool) -> None:
        """Keeps the connection for a later request if it is reusable; closes it otherwise."""
        if not is_reusable:
            connection.close()
            return
        with self._lock:
            self._idle.append(connection)
            dropped = self._idle[: -self._max_idle] if self._max_idle else self._idle[:]
            del self._idle[: len(dropped)]
        for old in dropped:
            old.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take_idle(self, target: Target) -> Connection | None:
        while True:
            with self._lock:
                matching = (c for c in reversed(self._idle) if _matches(c, target))
                connection = next(matching, None)
                if connection is None:
                    return None
                self._idle.remove(connection)
            if connection.is_connected:  # otherwise the server has closed it
                return connection
            connection.close()

    def _new(self, target: Target) -> Connection:
        connection = (
            _SecureConnection(target.host, target.port, ssl_context=self._tls)
            if target.scheme == "https"
            else Connection(target.host, target.port)
        )
        connection.approved_target = target
        connection.connect_socket = self._connect
        connection.connect_timeout_s = self._connect_timeout_s
        return connection


def _prepared(connection: Connection, deadline: Deadline) -> Connection:
    connection.deadline = deadline
    connection.timeout = deadline.next_timeout_s()
    return connection


def _matches(connection: Connection, target: Target) -> bool:
    known = connection.approved_target
    is_same = (known.scheme, known.host, known.port) == (target.scheme, target.host, target.port)
    return is_same and connection.ip in target.ips

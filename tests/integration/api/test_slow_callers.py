"""Clients that send slowly or stop in the middle block a thread for a limited time only."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from core.settings import Settings
from tests.integration.api.test_server import at_port
from tests.processes import running, wait_for_api

HALF_HEADERS = b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
HALF_UPLOAD = (
    b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
)


@pytest.fixture
def base(settings: Settings, tmp_path: Path) -> Iterator[str]:
    """An API process with two threads and a read timeout of one second."""
    settings, base = at_port(settings)
    api = settings.api.model_copy(update={"threads": 2, "read_timeout_s": 1})
    with running(settings.model_copy(update={"api": api}), "api", log=tmp_path / "api.log"):
        wait_for_api(base)
        yield base
    assert "Traceback" not in (tmp_path / "api.log").read_text()


def connect(base: str, data: bytes) -> socket.socket:
    host, _, port = base.removeprefix("http://").rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(data)
    return connection


@pytest.mark.parametrize("half", [HALF_HEADERS, HALF_UPLOAD])
def test_incomplete_requests_time_out(base: str, half: bytes) -> None:
    # Given as many stuck clients as threads,
    with contextlib.ExitStack() as stack:
        stuck = [stack.enter_context(connect(base, half)) for _ in range(2)]
        started = time.monotonic()

        # when another client sends a request, then it is served,
        with urllib3.PoolManager(retries=False, timeout=10) as http:
            assert http.request("GET", f"{base}/v1/jobs").status == 200
        assert time.monotonic() - started < 5

        # and the stuck clients get a 400 or a closed connection.
        assert {connection.recv(12) for connection in stuck} <= {b"", b"HTTP/1.1 400"}


def test_a_response_may_take_longer_than_the_read_timeout(base: str) -> None:
    with urllib3.PoolManager(retries=False, timeout=10) as http:
        made = http.request("POST", f"{base}/v1/jobs", json={"url": "https://shop.example/a.jpg"}).json()
        waited = http.request("GET", f"{base}/v1/jobs/{made['id']}?wait=3")

    assert (waited.status, waited.json()["status"]) == (200, "queued")

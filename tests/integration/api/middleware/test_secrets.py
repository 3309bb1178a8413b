"""The log of a real API process contains no secrets, even if callers put them in the wrong place."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import urllib3

from core.db.engine import Sessions
from core.settings import Settings
from tests.integration.api.middleware.test_isolation import bearer
from tests.integration.api.test_server import at_port, events
from tests.integration.core.auth.test_api_keys import make_key
from tests.processes import environment, running, stop, wait_for_api


def raw(port: int, *lines: str) -> str:
    """Sends a raw HTTP request and returns the status line."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        with connection.makefile("rb") as answer:
            return answer.readline().decode().strip()


def test_secrets_are_never_in_the_log(settings: Settings, sessions: Sessions, tmp_path: Path) -> None:
    settings, base = at_port(settings)
    settings = settings.model_copy(
        update={"api": settings.api.model_copy(update={"require_key": True}), "log_level": "debug"}
    )
    key = make_key(sessions)
    secret = key.split("_")[2]
    log = tmp_path / "api.log"
    with running(settings, "api", log=log) as process, urllib3.PoolManager(retries=False, timeout=10) as http:
        wait_for_api(base)
        address = "https://shop.example/a.jpg?X-Amz-Signature=hush"
        assert http.request("POST", f"{base}/v1/jobs", json={"url": address}, headers=bearer(key)).status == 202
        assert http.request("POST", f"{base}/v1/jobs", json={"url": address + "\0"}, headers=bearer(key)).status == 422
        assert http.request("GET", f"{base}/v1/jobs?api_key={key}", headers=bearer(key)).status == 422
        assert http.request("GET", f"{base}/v1/jobs?token=hush", headers=bearer(key[:-1])).status == 401
        # A key in the wrong place.
        assert http.request("GET", f"{base}/v1/jobs/{key}", headers=bearer(key)).status == 404
        assert http.request("GET", f"{base}/{key}", headers={"X-Request-Id": key[:60]}).status == 404
        submitted = subprocess.run(
            [sys.executable, "-m", "cli.main", "submit", address, "--api", base],
            env={**environment(settings), "ENRICH_API_KEY": key},
            capture_output=True,
            text=True,
            check=True,
        )
        assert '"status": "queued"' in submitted.stdout
        assert stop(process) == 0

    text = log.read_text()
    assert "hush" not in text
    # Not even a part of the secret that would help to guess the rest.
    assert secret[:24] not in text
    assert secret[-24:] not in text
    assert {event.get("key_id") for event in events(log, "request_served")} >= {key.split("_")[1]}


def test_requests_without_keys_over_a_socket(settings: Settings, tmp_path: Path) -> None:
    settings, base = at_port(settings)
    port = settings.api.port
    with running(settings, "api", log=tmp_path / "api.log"):
        wait_for_api(base)
        ask = "GET /v1/jobs HTTP/1.1"
        assert raw(port, ask, "Host: localhost").endswith("200 OK")
        assert raw(port, ask, f"Host: [::1]:{port}").endswith("200 OK")
        assert " 403 " in raw(port, ask, "Host: shop.example")
        assert " 403 " in raw(port, ask, "Host: localhost", "X-Forwarded-For: 127.0.0.1")
        assert " 403 " in raw(port, ask, "Host: localhost", "X-Forwarded-Proto: https")
        assert " 403 " in raw(port, ask, "Host: localhost", "Origin: http://shop.example")
        # Two Host headers, none, and one in the request line: however the server interprets them, it returns no data.
        for lines in (
            [ask, "Host: localhost", "Host: shop.example"],
            [ask, "Host: shop.example", "Host: localhost"],
            ["GET /v1/jobs HTTP/1.0"],
            ["GET http://shop.example/v1/jobs HTTP/1.1", "Host: shop.example"],
        ):
            assert " 40" in raw(port, *lines), lines

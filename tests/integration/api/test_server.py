"""The real process under gunicorn: serves requests, logs no secrets, and shuts down without dropping requests."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import urllib3

from core.db.engine import Sessions
from core.settings import Settings
from tests.ports import free_port
from tests.processes import running, stop, wait_for_api
from tests.records import claim_job, finish_job


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False, timeout=20) as pool:
        yield pool


def at_port(settings: Settings) -> tuple[Settings, str]:
    port = free_port()
    api = settings.api.model_copy(update={"port": port})
    return settings.model_copy(update={"api": api}), f"http://127.0.0.1:{port}"


def events(log: Path, name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


def test_jobs_over_http(settings: Settings, sessions: Sessions, tmp_path: Path, http: urllib3.PoolManager) -> None:
    settings, base = at_port(settings)
    with running(settings, "api", log=tmp_path / "api.log") as process:
        wait_for_api(base)

        address = "https://shop.example/a.jpg?sig=hush"
        assert http.request("POST", f"{base}/v1/jobs?token=hush", json={"url": address}).status == 202

        form = {"file": ("a.jpg", b"some bytes", "image/jpeg"), "external_id": "sku-1"}
        made = http.request("POST", f"{base}/v1/jobs", fields=form)
        assert made.status == 202
        job_url = base + made.headers["Location"]

        # Given a long poll, when a worker finishes the job, the response is immediate.
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(lambda: (http.request("GET", f"{job_url}?wait=20"), time.monotonic()))
            time.sleep(0.5)
            claim = claim_job(sessions, uuid.UUID(made.json()["id"]))
            assert claim
            assert finish_job(sessions, claim)
            finished_at = time.monotonic()
            read, answered_at = asked.result()
        assert read.json()["status"] == "succeeded"
        assert answered_at - finished_at < 0.5

        assert stop(process) == 0
    log = tmp_path / "api.log"
    assert "hush" not in log.read_text()
    served = events(log, "request_served")
    assert {"POST /v1/jobs", f"GET /v1/jobs/{made.json()['id']}"} <= {f"{e['method']} {e['path']}" for e in served}
    assert all({"status", "duration_ms", "request_id"} <= event.keys() for event in served)


def test_sigterm_ends_long_polls_with_the_current_state(
    settings: Settings, tmp_path: Path, http: urllib3.PoolManager
) -> None:
    settings, base = at_port(settings)
    with running(settings, "api", log=tmp_path / "api.log") as process:
        wait_for_api(base)
        made = http.request("POST", f"{base}/v1/jobs", json={"url": "https://shop.example/a.jpg"})

        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(http.request, "GET", f"{base}{made.headers['Location']}?wait=20")
            time.sleep(0.5)
            started = time.monotonic()
            status = stop(process)
            took_s = time.monotonic() - started
            answer = asked.result()

    assert (answer.status, answer.json()["status"]) == (200, "queued")
    assert status == 0
    assert took_s < 10

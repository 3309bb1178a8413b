"""`enrich webhooks listen` and `tail` against a running API and dispatcher."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from core.db.engine import Sessions
from core.settings import Settings
from core.webhooks import endpoints
from tests.processes import running, wait_until
from tests.webhook_records import attempts, ended_job

ENRICH = (sys.executable, "-m", "cli.main", "webhooks")


@pytest.fixture
def environment(settings: Settings, api_base: str) -> Iterator[dict[str, str]]:
    """Environment variables for the API. A dispatcher is running."""
    with running(settings, "dispatcher"):
        yield {**os.environ, "ENRICH_API_URL": api_base, "PYTHONUNBUFFERED": "1"}


def test_listen_prints_verified_events_and_deletes_its_endpoint(
    sessions: Sessions, environment: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "listen.log"
    with log.open("wb") as output:
        child = subprocess.Popen([*ENRICH, "listen"], env=environment, stdout=output, stderr=output)
    wait_until(lambda: "endpoint.test" in log.read_text() or child.poll() is not None, 30, "the test event")
    job_id = ended_job(sessions)
    wait_until(lambda: str(job_id) in log.read_text(), 30, "the job's event")
    child.send_signal(signal.SIGTERM)
    assert child.wait(10) == 0
    said = log.read_text()
    assert said.count("✓") == 2
    assert "job.canceled" in said
    assert "Traceback" not in said
    with sessions() as session:
        assert endpoints.list_all(session, "local") == []


def test_listen_reports_events_that_do_not_verify(environment: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "listen.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            [*ENRICH, "listen", "--secret", "whsec_AAAA"], env=environment, stdout=output, stderr=output
        )
    wait_until(lambda: "listening on " in log.read_text(), 30, "the address")
    address = log.read_text().partition("listening on ")[2].partition(";")[0]
    with urllib3.PoolManager() as http:
        assert http.request("POST", address, body=b"{}", headers={"webhook-id": "evt_1"}).status == 400
    child.send_signal(signal.SIGINT)
    assert child.wait(10) == 0
    assert "✗ evt_1: not verified" in log.read_text()


def test_tail_prints_a_line_for_each_attempt(sessions: Sessions, environment: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "listen.log"
    with log.open("wb") as output:
        listener = subprocess.Popen([*ENRICH, "listen", "--answer", "418"], env=environment, stdout=output)
    wait_until(lambda: len(attempts(sessions)) >= 1, 30, "an attempt")
    done = subprocess.run(
        [*ENRICH, "tail", "--no-follow"], env=environment, capture_output=True, text=True, check=True, timeout=30
    )
    listener.send_signal(signal.SIGINT)
    listener.wait(10)
    [line, *_] = done.stdout.splitlines()
    assert " ✗ 418 " in line
    assert "endpoint.test evt_" in line
    assert "http://127.0.0.1:" in line


def test_an_unreachable_api_is_reported_in_one_sentence(environment: dict[str, str]) -> None:
    nowhere = {**environment, "ENRICH_API_URL": "http://127.0.0.1:9"}
    for command in ("listen", "tail"):
        done = subprocess.run([*ENRICH, command], env=nowhere, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 2
        assert "does not respond" in done.stderr
        assert "Traceback" not in done.stderr

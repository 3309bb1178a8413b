"""The API's metrics, scraped from a real process. No input of callers becomes a label."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from flask.testing import FlaskClient
from urllib3 import BaseHTTPResponse

from core.db.engine import Sessions
from core.settings import Settings
from tests import pictures
from tests.ports import free_port
from tests.processes import running, wait_for_api, wait_until
from tests.records import claim_job, finish_job
from tests.scraper import assert_usual, read, scrape

REQUESTS = "enrich_http_requests_total"


@pytest.fixture
def base(settings: Settings, tmp_path: Path) -> Iterator[str]:
    """An API process that requires no key."""
    port = free_port()
    own = settings.model_copy(update={"api": settings.api.model_copy(update={"port": port})})
    with running(own, "api", log=tmp_path / "api.log"):
        wait_for_api(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False, timeout=30) as http:
        yield http


def make_job(http: urllib3.PoolManager, base: str, lane: str = "interactive", **headers: str) -> BaseHTTPResponse:
    body = {"url": "https://shop.example/shirt.jpg", "lane": lane}
    response = http.request(
        "POST", f"{base}/v1/jobs", json=body, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    assert response.status == 202
    return response


def test_requests_and_jobs_are_counted_by_route(base: str, http: urllib3.PoolManager) -> None:
    for _ in range(3):
        make_job(http, base)
    make_job(http, base, "bulk")
    for _ in range(2):
        make_job(http, base, Idempotency_Key="again")
    http.request("POST", f"{base}/v1/jobs", fields={"file": ("shirt.jpg", pictures.jpeg())})
    http.request("GET", f"{base}/v1/jobs/7")
    http.request("GET", f"{base}/v1/jobs/8?wait=0")
    http.request("GET", f"{base}/no/such/../path?{'x' * 50}")
    http.request("PROPFIND", f"{base}/v1/jobs")
    http.request("DELETE", f"{base}/v1/jobs")

    scraped = scrape(base)

    assert_usual(scraped, "api")
    assert scraped.above_0("enrich_jobs_accepted_total") == {
        ("address", "interactive"): 4,  # a repeated Idempotency-Key creates no job
        ("address", "bulk"): 1,
        ("upload", "interactive"): 1,
    }
    assert scraped.value(REQUESTS, method="POST", route="/v1/jobs", status="202") == 7
    assert scraped.value(REQUESTS, method="GET", route="/v1/jobs/<job_id>", status="404") == 2
    assert scraped.value(REQUESTS, method="GET", route="unmatched", status="404") == 1
    assert scraped.value(REQUESTS, method="other", route="unmatched", status="405") == 1
    assert scraped.value(REQUESTS, method="DELETE", route="unmatched", status="405") == 1
    assert scraped.value("enrich_http_request_seconds_count", route="/v1/jobs") == 7
    assert scraped.value("enrich_publish_failed_total") == 0
    assert scraped.value("enrich_waiting_requests") == 0


def test_waiting_requests_are_counted(base: str, http: urllib3.PoolManager, sessions: Sessions) -> None:
    job_id = make_job(http, base).json()["id"]
    waiter = threading.Thread(target=http.request, args=("GET", f"{base}/v1/jobs/{job_id}?wait=30"))
    waiter.start()
    wait_until(lambda: scrape(base).value("enrich_waiting_requests") == 1, 10, "the request to wait")
    claim = claim_job(sessions, job_id)
    assert claim
    finish_job(sessions, claim)
    waiter.join(20)
    assert not waiter.is_alive()
    assert scrape(base).value("enrich_waiting_requests") == 0


def test_failed_publishes_are_counted(settings: Settings, tmp_path: Path, http: urllib3.PoolManager) -> None:
    port = free_port()
    queue = settings.queue.model_validate({"url": "redis://127.0.0.1:1/0"})
    api = settings.api.model_copy(update={"port": port})
    base = f"http://127.0.0.1:{port}"
    with running(settings.model_copy(update={"queue": queue, "api": api}), "api", log=tmp_path / "api.log"):
        wait_for_api(base)
        for _ in range(3):
            make_job(http, base)
        assert scrape(base).value("enrich_publish_failed_total") == 3


def test_metrics_require_no_key(settings: Settings, tmp_path: Path, http: urllib3.PoolManager) -> None:
    port = free_port()
    api = settings.api.model_copy(update={"port": port, "require_key": True})
    base = f"http://127.0.0.1:{port}"
    with running(settings.model_copy(update={"api": api}), "api", log=tmp_path / "api.log"):
        wait_for_api(base)
        assert http.request("GET", f"{base}/v1/jobs").status == 401
        scraped = scrape(base)
    assert scraped.value(REQUESTS, method="GET", route="/v1/jobs", status="401") == 1


def test_route_labels_are_our_rules(client: FlaskClient) -> None:
    rules = {rule.rule for rule in client.application.url_map.iter_rules()} | {"unmatched"}
    for path in (
        "/",
        "/docs",
        "/assets/page.js",
        "/assets/nothing.js",
        "/v1/jobs/%2e%2e",
        "/v1/nothing",
        "/metrics",
        "//",
    ):
        client.get(path).close()
    scraped = read(client.get("/metrics").text)
    assert scraped.label(REQUESTS, "route") <= rules
    assert "/assets/<path:filename>" in scraped.label(REQUESTS, "route")


def test_without_keys_foreign_pages_cannot_read_metrics(client: FlaskClient) -> None:
    assert client.get("/metrics", headers={"Origin": "https://elsewhere.example"}).status_code == 403
    assert client.get("/metrics", headers={"Host": "elsewhere.example"}).status_code == 403

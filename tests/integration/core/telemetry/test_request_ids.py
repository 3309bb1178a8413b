"""One request id through the logs of all processes, also when Redis lost the message in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import urllib3
from redis import Redis

from core.db.engine import Sessions
from core.settings import DispatcherSettings, Settings
from tests.image_server import ImageServer
from tests.ports import free_port
from tests.processes import running, wait_for_api, wait_until
from tests.webhook_receiver import Receiver
from tests.webhook_records import statuses
from train.synthetic.tiny import make_tiny_bundle

REQUEST_ID = "order-77.shirts"

Lines = list[dict[str, Any]]


def lines(log: Path) -> Lines:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


@pytest.mark.slow
def test_a_request_can_be_followed_through_all_processes(
    settings: Settings, sessions: Sessions, tmp_path: Path
) -> None:
    port = free_port()
    settings = settings.model_copy(
        update={
            "api": settings.api.model_copy(update={"port": port}),
            "worker": settings.worker.model_copy(update={"bundle": make_tiny_bundle(tmp_path / "bundle")}),
            "dispatcher": DispatcherSettings(sweep_every_s=0.2, lost_after_s=0.5),
            "fetch": settings.fetch.model_copy(update={"ports": ()}),
        }
    )
    logs = {name: tmp_path / f"{name}.log" for name in ("api", "worker", "dispatcher")}
    with ImageServer() as images, Receiver() as receiver:
        # Given a request with an id, whose job's message Redis loses
        with running(settings, "api", log=logs["api"]):
            wait_for_api(f"http://127.0.0.1:{port}")
            job_id = make_job(port, images.url("/good.jpg"), receiver.url())
        with Redis.from_url(settings.queue.url.get_secret_value()) as redis:
            redis.flushall()
        # When the others get to work
        with (
            running(settings, "dispatcher", log=logs["dispatcher"]),
            running(settings, "worker", "--lane", "interactive", log=logs["worker"]),
        ):
            wait_until(lambda: statuses(sessions) == ["delivered"], 60, "the webhook")
        [received] = receiver.received
    # Then each has told of the request
    told = {name: lines(log) for name, log in logs.items()}
    [served] = of_request(told["api"], "request_served")
    assert (served["path"], served["job_id"], served["status"]) == ("/v1/jobs", job_id, 202)
    [finished] = of_request(told["worker"], "job_finished")
    assert finished["job_id"] == job_id
    [attempted] = of_request(told["dispatcher"], "webhook_attempted")
    assert (attempted["job_id"], attempted["event_id"]) == (job_id, received.headers["webhook-id"])
    assert attempted["delivery_id"]
    assert attempted["is_delivered"]
    processes = {name: {line["process"] for line in of} for name, of in told.items()}
    assert processes == {"api": {"api"}, "worker": {"worker.interactive"}, "dispatcher": {"dispatcher"}}
    # And lines of other requests have other ids
    assert {line.get("request_id") for line in told["api"]} != {REQUEST_ID, None}


def make_job(port: int, address: str, webhook_url: str) -> str:
    with urllib3.PoolManager() as http:
        response = http.request(
            "POST",
            f"http://127.0.0.1:{port}/v1/jobs",
            json={"url": address, "webhook_url": webhook_url},
            headers={"X-Request-Id": REQUEST_ID},
        )
        assert response.status == 202, response.data
        assert response.headers["X-Request-Id"] == REQUEST_ID
        http.request("GET", f"http://127.0.0.1:{port}/v1/jobs")
        return str(response.json()["id"])


def of_request(told: Lines, event: str) -> Lines:
    return [line for line in told if line["event"] == event and line.get("request_id") == REQUEST_ID]

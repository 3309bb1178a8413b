"""Long polls: immediate wake-up, time limits, at most half of the threads, and no connection held."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.app import create_app
from api.services import services_of
from core.db.engine import Sessions
from core.jobs.queue import Publisher
from core.settings import ApiSettings, Settings
from tests.records import claim_job, finish_job, new_job

URL = "https://shop.example/shirt.jpg"


def until(is_so: Callable[[], bool]) -> None:
    """Polls until the condition holds; fails after five seconds."""
    deadline = time.monotonic() + 5
    while not is_so():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.01)


def waiting_threads(app: APIFlask) -> int:
    return sum(len(events) for events in services_of(app).long_poll._events.values())


def finish(sessions: Sessions, job_id: str | uuid.UUID) -> float:
    """Finishes the job as a worker would. Returns the time of the write."""
    claim = claim_job(sessions, uuid.UUID(str(job_id)))
    assert claim
    assert finish_job(sessions, claim)
    return time.monotonic()


@contextmanager
def in_background(app: APIFlask, path: str) -> Iterator[Future[tuple[TestResponse, float]]]:
    def ask() -> tuple[TestResponse, float]:
        return app.test_client().get(path), time.monotonic()

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(ask)


def test_finishing_a_job_wakes_long_polls(app: APIFlask, sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)

    with in_background(app, f"/v1/jobs/{job.id}?wait=20") as asked:
        until(services_of(app).long_poll._listener.is_listening.is_set)
        until(lambda: waiting_threads(app) == 1)
        finished_at = finish(sessions, job.id)
        response, answered_at = asked.result()

    assert response.get_json()["status"] == "succeeded"
    assert answered_at - finished_at < 0.5


def test_canceling_a_job_wakes_long_polls(
    app: APIFlask, client: FlaskClient, sessions: Sessions, publisher: Publisher
) -> None:
    job = new_job(sessions, publisher)

    with in_background(app, f"/v1/jobs/{job.id}?wait=20") as asked:
        until(lambda: waiting_threads(app) == 1)
        client.post(f"/v1/jobs/{job.id}/cancel")
        response, _ = asked.result()

    assert response.get_json()["status"] == "canceled"


def test_prefer_wait_answers_200_with_the_result(app: APIFlask, sessions: Sessions) -> None:
    def ask() -> TestResponse:
        return app.test_client().post("/v1/jobs", json={"url": URL}, headers={"Prefer": "respond-async, wait=20"})

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        until(lambda: waiting_threads(app) == 1)
        (job,) = app.test_client().get("/v1/jobs").get_json()["jobs"]
        finish(sessions, job["id"])
        response = asked.result()

    assert response.status_code == 200
    assert response.headers["Preference-Applied"] == "wait=20"
    assert response.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert response.get_json()["metadata"]["gender"] == "Men"


def test_a_repeated_request_with_prefer_wait_gets_the_finished_job(client: FlaskClient, sessions: Sessions) -> None:
    headers = {"Idempotency-Key": "order-1", "Prefer": "wait=5"}
    first = client.post("/v1/jobs", json={"url": URL}, headers={"Idempotency-Key": "order-1"})
    finish(sessions, first.get_json()["id"])

    second = client.post("/v1/jobs", json={"url": URL}, headers=headers)

    assert second.status_code == 200
    assert second.headers["Idempotency-Replayed"] == "true"


def test_a_wait_that_times_out_returns_the_current_state(client: FlaskClient) -> None:
    started = time.monotonic()

    response = client.post("/v1/jobs", json={"url": URL}, headers={"Prefer": "wait=1"})

    assert response.status_code == 202
    assert response.get_json()["status"] == "queued"
    assert 1 <= time.monotonic() - started < 3


@pytest.fixture
def narrow(settings: Settings) -> Iterator[APIFlask]:
    """A service with four threads, so two may wait, for up to three seconds."""
    app = create_app(settings.model_copy(update={"api": ApiSettings(require_key=False, threads=4, max_wait_s=3)}))
    yield app
    services_of(app).close()


def test_at_most_half_of_the_threads_wait(narrow: APIFlask, sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)
    path = f"/v1/jobs/{job.id}?wait=20"

    with in_background(narrow, path) as first, in_background(narrow, path) as second:
        until(lambda: waiting_threads(narrow) == 2)
        started = time.monotonic()
        third = narrow.test_client().get(path)
        took_s = time.monotonic() - started
        post = narrow.test_client().post("/v1/jobs", json={"url": URL}, headers={"Prefer": "wait=20"})
        finish(sessions, job.id)
        answers = [first.result()[0], second.result()[0]]

    assert third.get_json()["status"] == "queued"
    assert took_s < 0.5
    assert post.status_code == 202
    assert "Preference-Applied" not in post.headers
    assert [answer.get_json()["status"] for answer in answers] == ["succeeded", "succeeded"]
    # The slots are free again.
    assert waiting_threads(narrow) == 0
    assert narrow.test_client().get(path).get_json()["status"] == "succeeded"


def test_waits_are_capped(narrow: APIFlask, sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)
    started = time.monotonic()

    response = narrow.test_client().get(f"/v1/jobs/{job.id}?wait=600")

    assert response.get_json()["status"] == "queued"
    assert 3 <= time.monotonic() - started < 6


def test_no_database_connection_is_held_while_waiting(app: APIFlask, sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)

    with in_background(app, f"/v1/jobs/{job.id}?wait=20") as asked:
        until(lambda: waiting_threads(app) == 1 and services_of(app).long_poll._listener.is_listening.is_set())
        until(lambda: services_of(app).engine.pool.checkedout() == 0)  # type: ignore[attr-defined]
        finish(sessions, job.id)
        asked.result()


def test_a_lost_listener_reconnects_without_missing_a_job(
    app: APIFlask, settings: Settings, sessions: Sessions, publisher: Publisher
) -> None:
    job = new_job(sessions, publisher)

    with in_background(app, f"/v1/jobs/{job.id}?wait=20") as asked:
        until(services_of(app).long_poll._listener.is_listening.is_set)
        with psycopg.connect(settings.database.url.get_secret_value(), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            )
        finished_at = finish(sessions, job.id)
        response, answered_at = asked.result()

    assert response.get_json()["status"] == "succeeded"
    assert answered_at - finished_at < 3


def test_closing_ends_long_polls(app: APIFlask, sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)

    with in_background(app, f"/v1/jobs/{job.id}?wait=20") as asked:
        until(lambda: waiting_threads(app) == 1)
        services_of(app).long_poll.release()
        response, _ = asked.result(timeout=2)

    assert response.get_json()["status"] == "queued"


def test_the_listener_starts_on_the_first_wait(client: FlaskClient) -> None:
    client.post("/v1/jobs", json={"url": URL})

    assert "listener" not in {thread.name for thread in threading.enumerate()}

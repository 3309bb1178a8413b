"""While Redis or Postgres hangs, every request gets a response in bounded time; afterwards the service recovers."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from apiflask import APIFlask
from pydantic import SecretStr
from werkzeug.test import TestResponse

from api.app import create_app
from api.pool import COOLDOWN_S
from api.services import services_of
from cli.local.postgres import EmbeddedPostgres
from cli.local.redis import EmbeddedRedis
from core.db.engine import Sessions, migrate
from core.settings import DatabaseSettings, QueueSettings, Settings
from tests.freezing import frozen
from tests.integration.api.routes.test_create_job import URL, assert_problem
from tests.records import read_job

pytestmark = pytest.mark.timeout(120)

Ask = Callable[[], TestResponse]


def timed(ask: Ask) -> tuple[TestResponse, float]:
    """Returns the response and its latency in seconds."""
    started = time.monotonic()
    return ask(), time.monotonic() - started


def side_by_side(
    app: APIFlask, count: int, ask: Callable[[APIFlask], TestResponse]
) -> list[tuple[TestResponse, float]]:
    """Sends `count` requests in parallel, like the server's threads."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: timed(lambda: ask(app)), range(count)))


def create(app: APIFlask) -> TestResponse:
    return app.test_client().post("/v1/jobs", json={"url": URL})


def test_while_redis_hangs_jobs_are_accepted_promptly(
    settings: Settings, sessions: Sessions, redis_server: EmbeddedRedis
) -> None:
    app = create_app(settings.model_copy(update={"queue": QueueSettings(url=SecretStr(redis_server.url))}))
    assert create(app).status_code == 202  # opens the connections, as in a running service

    with frozen(redis_server):
        answers = side_by_side(app, 16, create)
        alone = timed(lambda: create(app))
        ready, ready_after_s = timed(lambda: app.test_client().get("/readyz"))

    for response, took_s in [*answers, alone]:
        assert response.status_code == 202
        assert took_s < 6
        assert read_job(sessions, uuid.UUID(response.get_json()["id"])).published_at is None
    assert (ready.get_json()["status"], ready.get_json()["parts"]["redis"]) == ("degraded", "down")
    assert ready_after_s < 6
    time.sleep(1.1)  # the cooldown of the circuit breaker
    job = create(app).get_json()["id"]
    assert read_job(sessions, uuid.UUID(job)).published_at is not None
    services_of(app).close()


def test_while_postgres_hangs_requests_fail_promptly_with_503(
    settings: Settings, postgres_server: EmbeddedPostgres
) -> None:
    settings = settings.model_copy(update={"database": DatabaseSettings(url=SecretStr(postgres_server.url))})
    migrate(settings)
    app = create_app(settings)
    assert {answer.status_code for answer, _ in side_by_side(app, 16, create)} == {202}  # opens the connections

    with frozen(postgres_server):
        first = side_by_side(app, 16, create)
        later = side_by_side(app, 16, lambda app: app.test_client().get("/v1/jobs"))
        waited = [took_s for _, took_s in later if took_s > 0.5]
        ready, ready_after_s = timed(lambda: app.test_client().get("/readyz"))
        assert timed(lambda: app.test_client().get("/healthz"))[1] < 1

    for response, took_s in [*first, *later]:
        assert_problem(response, 503, "database_unavailable")
        assert int(response.headers["Retry-After"]) > 0
        assert took_s < 15
    assert assert_problem(ready, 503, "not_ready")["parts"]["postgres"] == "down"
    assert ready_after_s < 15
    assert len(waited) <= 1, "one request tries to connect, the others fail immediately"
    time.sleep(COOLDOWN_S)
    assert create(app).status_code == 202
    assert {answer.status_code for answer, _ in side_by_side(app, 16, create)} == {202}
    assert len(app.test_client().get("/v1/jobs").get_json()["jobs"]) >= 32
    services_of(app).close()

"""Behavior and health probes while a dependency is down."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr

from api.app import create_app
from api.services import services_of
from core.db.engine import Sessions, make_engine
from core.jobs.queries import register_bundle
from core.settings import Settings
from tests import servers
from tests.integration.api.routes.test_create_job import URL, assert_problem, upload
from tests.records import read_job

NOBODY = "127.0.0.1:1"
Serve = Callable[[Settings], FlaskClient]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Creates applications with the given settings and closes them afterwards."""
    apps = []

    def make(settings: Settings) -> FlaskClient:
        apps.append(create_app(settings))
        return apps[-1].test_client()

    yield make
    for app in apps:
        services_of(app).close()


def changed(settings: Settings, group: str, **values: Any) -> Settings:
    return settings.model_copy(update={group: getattr(settings, group).model_copy(update=values)})


def test_without_redis_jobs_are_still_accepted(serve: Serve, settings: Settings, sessions: Sessions) -> None:
    client = serve(changed(settings, "queue", url=SecretStr(f"redis://{NOBODY}/0")))

    response = client.post("/v1/jobs", json={"url": URL})

    assert response.status_code == 202
    # This is how the sweeper finds the job.
    assert read_job(sessions, uuid.UUID(response.get_json()["id"])).published_at is None
    ready = client.get("/readyz")
    assert (ready.status_code, ready.get_json()["status"]) == (200, "degraded")
    assert ready.get_json()["parts"]["redis"] == "down"


def test_without_postgres_requests_get_503_with_retry_after(serve: Serve, settings: Settings) -> None:
    client = serve(changed(settings, "database", url=SecretStr(f"postgresql://{NOBODY}/enrich")))

    answers = [
        client.post("/v1/jobs", json={"url": URL}),
        client.get("/v1/jobs"),
        client.get(f"/v1/jobs/{uuid.uuid4()}"),
        client.get(f"/v1/jobs/{uuid.uuid4()}?wait=5"),
        client.post(f"/v1/jobs/{uuid.uuid4()}/cancel"),
        client.get("/v1/model"),
    ]

    for response in answers:
        assert_problem(response, 503, "database_unavailable")
        assert int(response.headers["Retry-After"]) > 0
        assert "127.0.0.1" not in response.text
    problem = assert_problem(client.get("/readyz"), 503, "not_ready")
    assert problem["parts"] == {"postgres": "down", "schema": "unknown", "storage": "ok", "redis": "ok"}
    assert client.get("/healthz").status_code == 200


def test_without_storage_uploads_are_rejected_but_urls_are_accepted(
    serve: Serve, settings: Settings, sessions: Sessions
) -> None:
    settings.storage.folder.parent.mkdir(parents=True, exist_ok=True)
    settings.storage.folder.write_text("a file where the folder should be")
    client = serve(settings)

    refused = upload(client)

    assert_problem(refused, 503, "storage_unavailable")
    assert "Retry-After" in refused.headers
    assert client.get("/v1/jobs").get_json()["jobs"] == []
    assert client.post("/v1/jobs", json={"url": URL}).status_code == 202
    assert assert_problem(client.get("/readyz"), 503, "not_ready")["parts"]["storage"] == "down"


def test_ready_when_all_dependencies_are_up(client: FlaskClient) -> None:
    response = client.get("/readyz")

    assert response.status_code == 200
    parts = {"postgres": "ok", "schema": "ok", "storage": "ok", "redis": "ok"}
    assert response.get_json() == {"status": "ready", "parts": parts}


def test_an_empty_database_is_not_ready(serve: Serve, settings: Settings, postgres_url: str) -> None:
    url = servers.fresh_database(postgres_url)
    client = serve(changed(settings, "database", url=SecretStr(url)))

    problem = assert_problem(client.get("/readyz"), 503, "not_ready")

    assert problem["parts"]["schema"] == "missing"
    services_of(client.application).engine.dispose()  # type: ignore[arg-type]
    servers.drop_database(postgres_url, url)


def test_a_newer_schema_is_ready(client: FlaskClient, settings: Settings) -> None:
    engine = make_engine(settings)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'of_the_next_release'")
    engine.dispose()

    assert client.get("/readyz").get_json()["parts"]["schema"] == "ok"


def test_the_model_is_unknown_until_a_worker_has_started(client: FlaskClient, sessions: Sessions) -> None:
    for path in ("/v1/model", "/v1/taxonomy"):
        problem = assert_problem(client.get(path), 503, "model_unavailable")
        assert "worker" in problem["detail"]

    with sessions.begin() as session:
        register_bundle(
            session,
            name="fashion",
            version="1.2.0",
            taxonomy={"version": "1", "attributes": {"gender": ["Men"]}, "parents": {}},
            description={"input": 128},
            card="# Card",
        )

    model = client.get("/v1/model").get_json()
    assert (model["bundle"], model["version"], model["card"]) == ("fashion", "1.2.0", "# Card")
    assert client.get("/v1/taxonomy").get_json()["attributes"] == {"gender": ["Men"]}

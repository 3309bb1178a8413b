"""API keys: scopes, revocation, rate limits, and the limit of queued jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr

from api.app import create_app
from api.middleware.auth import require_scope
from api.services import services_of
from core.auth import api_keys
from core.auth.api_keys import Scope
from core.db.engine import Sessions
from core.settings import Settings
from tests.integration.api.middleware.test_isolation import bearer
from tests.integration.api.routes.test_create_job import URL, assert_problem, upload
from tests.integration.core.auth.test_api_keys import make_key, row

Serve = Callable[..., FlaskClient]


@pytest.fixture
def serve(settings: Settings) -> Iterator[Serve]:
    """Creates applications that require keys, with optional changes of the API's settings."""
    apps = []

    def make(redis_url: str | None = None, **api: Any) -> FlaskClient:
        changes: dict[str, Any] = {"api": settings.api.model_copy(update={"require_key": True, **api})}
        if redis_url:
            changes["queue"] = settings.queue.model_copy(update={"url": SecretStr(redis_url)})
        apps.append(create_app(settings.model_copy(update=changes)))
        return apps[-1].test_client()

    yield make
    for app in apps:
        services_of(app).close()


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "enrich_0_0", "Token a"])
def test_a_header_without_a_key_is_rejected(serve: Serve, header: str) -> None:
    assert_problem(serve().get("/v1/jobs", headers={"Authorization": header}), 401, "key_required")


def test_pages_assets_and_probes_require_no_key_and_unknown_routes_are_404(serve: Serve) -> None:
    client = serve()
    for path in ("/", "/docs", "/docs/errors", "/openapi.json", "/assets/page.js", "/healthz", "/readyz"):
        response = client.get(path)
        assert response.status_code == 200
        response.close()
    assert_problem(client.get("/v1/nothing"), 404, "route_not_found")


def test_scopes(serve: Serve, sessions: Sessions) -> None:
    client = serve()
    reading, writing = (bearer(make_key(sessions, scope)) for scope in (Scope.READ, Scope.WRITE))

    made = client.post("/v1/jobs", json={"url": URL}, headers=writing)
    assert made.status_code == 202
    path = made.headers["Location"]
    for headers in (reading, writing):
        assert client.get(path, headers=headers).status_code == 200
    for refused in (
        client.post("/v1/jobs", json={"url": URL}, headers=reading),
        client.post(f"{path}/cancel", headers=reading),
    ):
        assert "`write`" in assert_problem(refused, 403, "scope_missing")["detail"]
        assert 'error="insufficient_scope", scope="write"' in refused.headers["WWW-Authenticate"]
    assert client.get(path, headers=reading).get_json()["status"] == "queued"


def test_a_route_may_require_admin(serve: Serve, sessions: Sessions) -> None:
    client = serve()

    @client.application.get("/v1/secret")
    @require_scope(Scope.ADMIN)
    def secret() -> str:
        return "told"

    writing, ruling = (bearer(make_key(sessions, scope)) for scope in (Scope.WRITE, Scope.ADMIN))
    assert_problem(client.get("/v1/secret", headers=writing), 403, "scope_missing")
    assert client.get("/v1/secret", headers=ruling).text == "told"
    assert client.post("/v1/jobs", json={"url": URL}, headers=ruling).status_code == 202


def test_a_revoked_key_is_rejected_from_the_next_request(serve: Serve, sessions: Sessions) -> None:
    client, key = serve(), make_key(sessions)
    assert client.get("/v1/jobs", headers=bearer(key)).status_code == 200
    assert row(sessions, key).last_used_at

    with sessions.begin() as session:
        api_keys.revoke(session, row(sessions, key).id)

    refused = client.get("/v1/jobs", headers=bearer(key))
    assert_problem(refused, 401, "key_invalid")
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]


def test_the_rate_limit_applies_to_each_key_separately(serve: Serve, sessions: Sessions) -> None:
    client = serve(rate_per_s=2, rate_burst=3)
    hasty, calm = (bearer(make_key(sessions)) for _ in range(2))

    answers = [client.get("/v1/jobs", headers=hasty) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert_problem(answers[3], 429, "rate_limited")
    wait_s = int(answers[3].headers["Retry-After"])
    assert wait_s == 1
    assert client.get("/v1/jobs", headers=calm).status_code == 200
    time.sleep(wait_s)
    assert client.get("/v1/jobs", headers=hasty).status_code == 200


def test_processes_share_the_bucket(serve: Serve, sessions: Sessions) -> None:
    first, second = (serve(rate_per_s=0.1, rate_burst=2) for _ in range(2))
    headers = bearer(make_key(sessions))

    statuses = [client.get("/v1/jobs", headers=headers).status_code for client in (first, second, first, second)]

    assert statuses == [200, 200, 429, 429]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "192.0.2.1:6379"])
def test_the_rate_limit_fails_open_without_redis(serve: Serve, sessions: Sessions, address: str) -> None:
    client = serve(redis_url=f"redis://{address}/0", rate_per_s=0.1, rate_burst=1)
    headers = bearer(make_key(sessions))

    started = time.monotonic()
    statuses = [client.get("/v1/jobs", headers=headers).status_code for _ in range(20)]

    assert statuses == [200] * 20
    assert time.monotonic() - started < 1


def test_queued_jobs_have_a_cap_per_owner(serve: Serve, sessions: Sessions, settings: Settings) -> None:
    client = serve(max_queued_jobs=2)
    mine, others = (bearer(make_key(sessions, owner_id=owner)) for owner in ("shop-a", "shop-b"))
    made = [client.post("/v1/jobs", json={"url": URL}, headers=mine) for _ in range(3)]

    assert [each.status_code for each in made] == [202, 202, 429]
    assert_problem(made[2], 429, "too_many_queued")
    assert int(made[2].headers["Retry-After"]) > 0
    refused = upload(client, headers=mine)
    assert_problem(refused, 429, "too_many_queued")
    assert not list(settings.storage.folder.rglob("*/*/*")), "nothing of a refused upload is kept"
    assert client.post("/v1/jobs", json={"url": URL}, headers=others).status_code == 202

    repeat = mine | {"Idempotency-Key": "once"}
    assert client.post("/v1/jobs", json={"url": URL}, headers=repeat).status_code == 429

    # A canceled job frees its place immediately.
    client.post(f"{made[0].headers['Location']}/cancel", headers=mine)
    assert client.post("/v1/jobs", json={"url": URL}, headers=repeat).status_code == 202
    assert client.post("/v1/jobs", json={"url": URL}, headers=mine).status_code == 429
    replayed = client.post("/v1/jobs", json={"url": URL}, headers=repeat)
    assert (replayed.status_code, replayed.headers["Idempotency-Replayed"]) == (202, "true"), "a repeat needs no room"

"""Calls every operation of the OpenAPI document without a key and with another owner's key: no data may be exposed.

The operations come from the document itself, so a new operation fails here until its probe is added.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.app import create_app
from api.services import services_of
from core.db.engine import Sessions
from core.jobs.queue import Publisher
from core.settings import Settings
from core.webhooks import endpoints
from core.webhooks.events import create_test_event
from tests.integration.api.routes.test_create_job import assert_problem
from tests.integration.core.auth.test_api_keys import make_key
from tests.records import claim_job, finish_job, new_job, read_job

OWNER, OTHER = "shop-a", "shop-b"
METHODS = {"get", "post", "put", "patch", "delete"}

PUBLIC = {"GET /healthz", "GET /readyz"}
"""Health probes have no key."""

SHARED = {"GET /v1/taxonomy", "GET /v1/model"}
"""Operations that require a key but return the same to every owner."""

Probe = Callable[[FlaskClient, dict[str, str]], None]


def lists_nothing(client: FlaskClient, headers: dict[str, str]) -> None:
    assert client.get("/v1/jobs", headers=headers).get_json() == {"jobs": [], "next_cursor": None}
    assert client.get("/v1/jobs?external_id=sku-1", headers=headers).get_json()["jobs"] == []


def creates_an_own_job(client: FlaskClient, headers: dict[str, str]) -> None:
    # Neither the owner's external id nor its Idempotency-Key leads to the owner's job.
    body = {"url": "https://shop.example/shirt.jpg", "external_id": "sku-1"}
    response = client.post("/v1/jobs", json=body, headers={**headers, "Idempotency-Key": "order-1"})
    assert response.status_code == 202
    assert "Idempotency-Replayed" not in response.headers
    assert response.get_json()["metadata"] is None


def lists_no_endpoint(client: FlaskClient, headers: dict[str, str]) -> None:
    assert client.get("/v1/webhook-endpoints", headers=headers).get_json() == {"endpoints": []}


def lists_no_delivery(client: FlaskClient, headers: dict[str, str]) -> None:
    assert client.get("/v1/webhook-deliveries", headers=headers).get_json()["deliveries"] == []


def creates_an_own_endpoint(client: FlaskClient, headers: dict[str, str]) -> None:
    response = client.post("/v1/webhook-endpoints", json={"url": "http://127.0.0.1:9/"}, headers=headers)
    assert response.status_code == 201


def has_an_own_secret(client: FlaskClient, headers: dict[str, str]) -> None:
    document = client.get("/v1/webhook-secret", headers=headers).get_json()
    assert document["secret"].startswith("whsec_")


def rotates_its_own_secret(client: FlaskClient, headers: dict[str, str]) -> None:
    before = client.get("/v1/webhook-secret", headers=headers).get_json()["secret"]
    assert client.post("/v1/webhook-secret/rotate", headers=headers).get_json()["previous_secret"] == before


COLLECTIONS: dict[str, Probe] = {
    "GET /v1/jobs": lists_nothing,
    "POST /v1/jobs": creates_an_own_job,
    "GET /v1/webhook-endpoints": lists_no_endpoint,
    "POST /v1/webhook-endpoints": creates_an_own_endpoint,
    "GET /v1/webhook-deliveries": lists_no_delivery,
    "GET /v1/webhook-secret": has_an_own_secret,
    "POST /v1/webhook-secret/rotate": rotates_its_own_secret,
}
"""Probes of the operations without an id in their path."""


@pytest.fixture
def app(settings: Settings) -> Iterator[APIFlask]:
    """An application that requires keys, as in production."""
    api = settings.api.model_copy(update={"require_key": True})
    app = create_app(settings.model_copy(update={"api": api}))
    yield app
    services_of(app).close()


@pytest.fixture
def owned(sessions: Sessions, publisher: Publisher) -> dict[str, str]:
    """Ids of objects that belong to OWNER, by path parameter."""
    job = new_job(sessions, publisher, owner_id=OWNER, external_id="sku-1", idempotency_key="order-1")
    with sessions.begin() as session:
        endpoint = endpoints.create(session, OWNER, url="https://shop.example/hook", limit=9)
        delivery_id = create_test_event(session, endpoint)
    return {"job_id": str(job.id), "endpoint_id": str(endpoint.id), "delivery_id": str(delivery_id)}


def operations(client: FlaskClient) -> dict[str, dict[str, Any]]:
    paths = client.get("/openapi.json").get_json()["paths"]
    return {
        f"{method.upper()} {path}": operation
        for path, item in paths.items()
        for method, operation in item.items()
        if method in METHODS
    }


def ask(client: FlaskClient, name: str, ids: dict[str, str], headers: dict[str, str]) -> TestResponse:
    method, path = name.split(" ")
    body = {} if method == "GET" else {"json": {}}
    return client.open(re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], path), method=method, headers=headers, **body)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_every_operation_but_the_probes_requires_a_key(client: FlaskClient, owned: dict[str, str]) -> None:
    named = operations(client)
    assert named.keys() >= PUBLIC
    for name in sorted(named.keys() - PUBLIC):
        refused = ask(client, name, owned, {})
        assert_problem(refused, 401, "key_required")
        assert refused.headers["WWW-Authenticate"].startswith("Bearer ")
        assert_problem(ask(client, name, owned, bearer("enrich_0_0")), 401, "key_invalid")
    for name in PUBLIC:
        assert ask(client, name, owned, {}).status_code == 200


def test_the_document_marks_operations_that_require_a_key(client: FlaskClient) -> None:
    open_ones = {name for name, operation in operations(client).items() if not operation.get("security")}
    assert open_ones == PUBLIC


def test_another_owner_sees_nothing(
    client: FlaskClient, sessions: Sessions, owned: dict[str, str], publisher: Publisher
) -> None:
    headers = bearer(make_key(sessions, owner_id=OTHER))
    # Sorted, so that GET operations run before POST operations create objects of the other owner.
    for name in sorted(operations(client).keys() - PUBLIC - SHARED):
        if "{" not in name:
            COLLECTIONS[name](client, headers)
            continue
        theirs, nobodys = (ask(client, name, ids, headers) for ids in (owned, dict.fromkeys(owned, str(uuid.uuid4()))))
        # The response must equal that for an unknown id, so that it does not even reveal the object's existence.
        assert theirs.status_code == 404, name
        assert content(theirs) == content(nobodys), name
    job = read_job(sessions, uuid.UUID(owned["job_id"]))
    assert (job.owner_id, job.status) == (OWNER, "queued")
    with sessions() as session:
        endpoint = endpoints.get(session, OWNER, uuid.UUID(owned["endpoint_id"]))
    assert endpoint.is_enabled


def content(response: TestResponse) -> dict[str, Any]:
    document: dict[str, Any] = response.get_json(force=True)
    return {key: value for key, value in document.items() if key not in ("instance", "request_id")}


def test_all_keys_of_the_owner_have_access(client: FlaskClient, sessions: Sessions, owned: dict[str, str]) -> None:
    # Two keys of one owner have the same access.
    first, second = (bearer(make_key(sessions, owner_id=OWNER)) for _ in range(2))
    assert [job["id"] for job in client.get("/v1/jobs", headers=first).get_json()["jobs"]] == [owned["job_id"]]
    canceled = client.post(f"/v1/jobs/{owned['job_id']}/cancel", headers=second)
    assert (canceled.status_code, canceled.get_json()["status"]) == (200, "canceled")


def test_a_cursor_of_another_owner_lists_the_callers_own_jobs(
    client: FlaskClient, sessions: Sessions, publisher: Publisher
) -> None:
    mine = new_job(sessions, publisher, owner_id=OTHER)
    for _ in range(2):
        new_job(sessions, publisher, owner_id=OWNER)
    page = client.get("/v1/jobs?limit=1", headers=bearer(make_key(sessions, owner_id=OWNER))).get_json()

    headers = bearer(make_key(sessions, owner_id=OTHER))
    seen = client.get(f"/v1/jobs?cursor={page['next_cursor']}", headers=headers).get_json()["jobs"]

    assert [job["id"] for job in seen] == [str(mine.id)]


def test_waiting_for_another_owners_job_ends_at_once(
    client: FlaskClient, sessions: Sessions, publisher: Publisher, owned: dict[str, str]
) -> None:
    claim = claim_job(sessions, uuid.UUID(owned["job_id"]))
    assert claim
    finish_job(sessions, claim)
    headers = bearer(make_key(sessions, owner_id=OTHER))

    assert_problem(client.get(f"/v1/jobs/{owned['job_id']}?wait=5", headers=headers), 404, "job_not_found")

"""Webhook endpoints and deliveries over HTTP."""

from __future__ import annotations

import datetime as dt
import io
import uuid
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from api.app import create_app
from api.services import services_of
from core.db.engine import Sessions
from core.db.webhook_models import DeliveryStatus, WebhookDelivery
from core.settings import FetchSettings, Settings
from core.webhooks import endpoints
from tests.integration.api.routes.test_create_job import assert_problem
from tests.records import claim_job, finish_job, read_job
from tests.webhook_records import attempts, ended_job, new_endpoint, read_endpoint, statuses

URL = "http://127.0.0.1:9/hooks/enrich?token=secret"


def made(client: FlaskClient, **fields: Any) -> dict[str, Any]:
    response = client.post("/v1/webhook-endpoints", json={"url": URL, **fields})
    assert response.status_code == 201, response.get_json()
    document: dict[str, Any] = response.get_json()
    assert response.headers["Location"] == f"/v1/webhook-endpoints/{document['id']}"
    return document


def test_an_endpoint_is_created_read_updated_and_deleted(client: FlaskClient, sessions: Sessions) -> None:
    endpoint = made(client, description="import", event_types=["job.failed"], max_rate_per_s=5)
    assert endpoint["secret"].startswith("whsec_")
    assert "secret=" not in endpoint["url"]
    assert "token" not in endpoint["url"]
    where = f"/v1/webhook-endpoints/{endpoint['id']}"
    shown = client.get(where).get_json()
    assert shown == {key: endpoint[key] for key in shown}
    assert not shown.keys() & {"secret", "previous_secret"}
    assert client.get("/v1/webhook-endpoints").get_json() == {"endpoints": [shown]}

    changed = client.patch(where, json={"description": None, "event_types": []}).get_json()
    assert (changed["description"], changed["max_rate_per_s"]) == (None, 5)
    assert len(changed["event_types"]) == 5
    assert read_endpoint(sessions, uuid.UUID(endpoint["id"])).url == URL

    assert_problem(client.get(f"{where}/attempts?after={2**63}"), 422, "invalid_request")
    assert client.delete(where).get_json()["id"] == endpoint["id"]
    assert_problem(client.get(where), 404, "endpoint_not_found")


def test_deleting_an_endpoint_deletes_its_deliveries(
    client: FlaskClient, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "DELETE_BATCH_SIZE", 2)
    endpoint, kept = made(client), made(client)
    for _ in range(5):
        ended_job(sessions)
    assert client.delete(f"/v1/webhook-endpoints/{endpoint['id']}").status_code == 200
    assert statuses(sessions) == statuses(sessions, uuid.UUID(kept["id"])) == ["pending"] * 5


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"url": "https://"}, "invalid_address"),
        ({"url": "s3://bucket/key"}, "invalid_address"),
        ({"url": "upload://local/x"}, "invalid_address"),
        ({"url": "ftp://shop.example/"}, "invalid_address"),
        ({"url": "http://10.0.0.1/"}, "invalid_address"),
        ({"url": "http://169.254.169.254/latest/meta-data"}, "invalid_address"),
        ({"url": "https://8.8.8.8:22/"}, "invalid_address"),
        ({"url": "https://no-such-host.invalid/"}, "invalid_address"),
        ({"url": ""}, "invalid_request"),
        ({}, "invalid_request"),
        ({"url": URL, "event_types": ["job.started"]}, "invalid_request"),
        ({"url": URL, "secret": "whsec_AAAA"}, "invalid_request"),
        ({"url": URL, "description": "a\x00b"}, "invalid_request"),
        ({"url": URL, "max_rate_per_s": 0}, "invalid_request"),
    ],
)
def test_invalid_endpoints_are_rejected(client: FlaskClient, fields: dict[str, Any], code: str) -> None:
    assert_problem(client.post("/v1/webhook-endpoints", json=fields), 422, code)
    assert client.get("/v1/webhook-endpoints").get_json() == {"endpoints": []}


def test_updates_are_validated_like_new_endpoints(client: FlaskClient) -> None:
    where = f"/v1/webhook-endpoints/{made(client)['id']}"
    assert_problem(client.patch(where, json={"url": "http://10.0.0.1/"}), 422, "invalid_address")
    assert_problem(client.patch(where, json={"enabled": None}), 422, "invalid_request")
    assert_problem(client.patch(where, json={"failures": 0}), 422, "invalid_request")
    assert_problem(client.patch(where, data="{"), 415, "unsupported_content_type")
    assert_problem(client.patch(where, data="{", content_type="application/json"), 400, "malformed_json")


def test_the_number_of_endpoints_is_limited(client: FlaskClient, settings: Settings) -> None:
    for _ in range(settings.webhooks.max_endpoints):
        made(client)
    refused = client.post("/v1/webhook-endpoints", json={"url": URL})
    assert_problem(refused, 409, "too_many_endpoints")


def test_rotation_keeps_the_old_secret_valid_for_the_overlap(client: FlaskClient) -> None:
    endpoint = made(client)
    where = f"/v1/webhook-endpoints/{endpoint['id']}"
    rotated = client.post(f"{where}/rotate").get_json()
    assert rotated["previous_secret"] == endpoint["secret"] != rotated["secret"]
    until = dt.datetime.fromisoformat(rotated["previous_valid_until"])
    assert dt.timedelta(hours=23) < until - dt.datetime.now(dt.UTC) < dt.timedelta(hours=25)
    assert client.get(f"{where}/secret").get_json() == rotated
    at_once = client.post(f"{where}/rotate", json={"overlap_s": 0}).get_json()
    assert at_once["previous_secret"] is None
    assert_problem(client.post(f"{where}/rotate", json={"overlap_s": -1}), 422, "invalid_request")


def test_the_default_secret_of_a_key_is_created_once(client: FlaskClient) -> None:
    first = client.get("/v1/webhook-secret").get_json()
    assert client.get("/v1/webhook-secret").get_json() == first
    assert client.post("/v1/webhook-secret/rotate").get_json()["previous_secret"] == first["secret"]


def test_the_webhook_url_of_a_job_is_validated_and_not_exposed(client: FlaskClient, sessions: Sessions) -> None:
    picture = "https://shop.example/shirt.jpg"
    blocked = client.post("/v1/jobs", json={"url": picture, "webhook_url": "http://10.0.0.1/"})
    assert_problem(blocked, 422, "invalid_address")
    document = client.post("/v1/jobs", json={"url": picture, "webhook_url": URL}).get_json()
    assert "token" not in str(document)
    job_id = uuid.UUID(document["id"])
    assert read_job(sessions, job_id).webhook_url == URL
    claim = claim_job(sessions, job_id)
    assert claim
    assert finish_job(sessions, claim)
    [delivery] = client.get(f"/v1/webhook-deliveries?job_id={job_id}").get_json()["deliveries"]
    assert (delivery["event_type"], delivery["endpoint_id"]) == ("job.succeeded", None)
    assert delivery["url"] == URL.partition("?")[0]
    detail = client.get(f"/v1/webhook-deliveries/{delivery['id']}").get_json()
    assert detail["body"]["data"] == client.get(f"/v1/jobs/{job_id}").get_json()
    assert client.get("/v1/webhook-endpoints").get_json() == {"endpoints": []}


def test_the_webhook_url_of_an_upload_is_validated(client: FlaskClient) -> None:
    response = client.post("/v1/jobs", data={"file": (io.BytesIO(b"x"), "a.jpg"), "webhook_url": "http://10.0.0.1/"})
    assert_problem(response, 422, "invalid_address")


def test_a_finished_job_creates_its_event_in_the_same_transaction(client: FlaskClient, sessions: Sessions) -> None:
    made(client)
    job = client.post("/v1/jobs", json={"url": "https://shop.example/shirt.jpg"}).get_json()
    late = claim_job(sessions, uuid.UUID(job["id"]), lease_s=0)
    claim = claim_job(sessions, uuid.UUID(job["id"]))
    assert late
    assert claim
    assert not finish_job(sessions, late)
    assert statuses(sessions) == []
    assert finish_job(sessions, claim)
    assert statuses(sessions) == ["pending"]


def test_lists_are_paged_and_filtered(client: FlaskClient, sessions: Sessions) -> None:
    endpoint_id = uuid.UUID(made(client)["id"])
    new_endpoint(sessions, "http://127.0.0.1:9/other", event_types=["job.failed"])
    jobs = [str(ended_job(sessions)) for _ in range(5)]
    where = f"/v1/webhook-endpoints/{endpoint_id}/deliveries"
    seen, cursor = [], ""
    while cursor is not None:
        page = client.get(f"{where}?limit=2&cursor={cursor}" if cursor else f"{where}?limit=2").get_json()
        seen += [each["job_id"] for each in page["deliveries"]]
        cursor = page["next_cursor"]
    assert seen == jobs[::-1]
    assert client.get(f"{where}?status=delivered").get_json()["deliveries"] == []
    assert_problem(client.get(f"{where}?cursor=x"), 400, "invalid_cursor")
    assert_problem(client.get(f"{where}?status=lost"), 422, "invalid_request")
    assert client.get(f"/v1/webhook-endpoints/{endpoint_id}").get_json()["waiting"] == 5


def test_a_test_event_ignores_the_subscription(client: FlaskClient) -> None:
    endpoint = made(client, event_types=["job.failed"])
    where = f"/v1/webhook-endpoints/{endpoint['id']}"
    response = client.post(f"{where}/test")
    assert response.status_code == 202
    assert response.get_json()["event_type"] == "endpoint.test"
    client.patch(where, json={"enabled": False})
    assert_problem(client.post(f"{where}/test"), 409, "endpoint_disabled")


def test_one_delivery_or_a_range_of_failures_is_replayed(client: FlaskClient, sessions: Sessions) -> None:
    endpoint = made(client)
    where = f"/v1/webhook-endpoints/{endpoint['id']}"
    for _ in range(3):
        ended_job(sessions)
    with sessions.begin() as session:
        session.execute(update(WebhookDelivery).values(status=DeliveryStatus.FAILED, step=10))
    newest = client.get("/v1/webhook-deliveries").get_json()["deliveries"][0]
    again = client.post(f"/v1/webhook-deliveries/{newest['id']}/replay")
    assert (again.status_code, again.get_json()["status"]) == (202, "pending")
    assert again.get_json()["event_id"] == newest["event_id"]

    tomorrow = (dt.datetime.now(dt.UTC) + dt.timedelta(days=1)).isoformat()
    assert client.post(f"{where}/replay", json={"since": tomorrow}).get_json() == {"replayed": 0}
    long_ago = "2026-01-01T00:00:00Z"
    assert client.post(f"{where}/replay", json={"since": long_ago}).get_json() == {"replayed": 2}
    assert statuses(sessions) == ["pending"] * 3
    assert_problem(client.post(f"{where}/replay", json={"since": "yesterday"}), 422, "invalid_request")
    client.patch(where, json={"enabled": False})
    assert_problem(client.post(f"/v1/webhook-deliveries/{newest['id']}/replay"), 409, "endpoint_disabled")
    assert_problem(client.post(f"{where}/replay", json={"since": long_ago}), 409, "endpoint_disabled")
    assert client.get(where).get_json()["disabled_reason"] == "disabled_by_owner"


def test_a_new_endpoint_has_no_attempts(client: FlaskClient, sessions: Sessions) -> None:
    endpoint = made(client)
    assert client.get(f"/v1/webhook-endpoints/{endpoint['id']}/attempts?after=0").get_json() == {
        "attempts": [],
        "next_cursor": None,
    }
    assert attempts(sessions) == []


def test_webhook_urls_are_checked_by_the_fetch_guard(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"fetch": FetchSettings()}))
    refused = app.test_client().post("/v1/webhook-endpoints", json={"url": "http://127.0.0.1:8080/"})
    assert_problem(refused, 422, "invalid_address")
    services_of(app).close()

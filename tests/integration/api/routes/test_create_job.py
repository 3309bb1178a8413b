"""POST /v1/jobs: accepted and rejected requests, and idempotency."""

from __future__ import annotations

import io
import uuid
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from core.db.engine import Sessions
from core.db.models import LOCAL_OWNER
from core.jobs.queue import Publisher
from core.settings import Settings
from core.states import Lane
from core.storage.uploads import open_storage
from tests.records import read_job

URL = "https://shop.example/shirt.jpg"
PICTURE = b"\xff\xd8\xff\xe0 not a whole picture, but bytes"


def upload(client: FlaskClient, data: bytes = PICTURE, headers: dict[str, str] | None = None, **fields: str) -> Any:
    form = {"file": (io.BytesIO(data), "shirt.jpg", "image/jpeg"), **fields}
    return client.post("/v1/jobs", data=form, headers=headers or {})


def assert_problem(response: TestResponse, status: int, code: str) -> dict[str, Any]:
    assert (response.status_code, response.content_type) == (status, "application/problem+json")
    problem: dict[str, Any] = response.get_json(force=True)
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"] == f"/docs/errors#{code}"
    assert problem["request_id"] == response.headers["X-Request-Id"]
    return problem


def test_a_url_is_accepted_stored_and_published(client: FlaskClient, sessions: Sessions, publisher: Publisher) -> None:
    response = client.post("/v1/jobs", json={"url": URL, "external_id": "sku-1"})

    assert response.status_code == 202
    document = response.get_json()
    assert document["status"] == "queued"
    assert document["external_id"] == "sku-1"
    assert document["asset"]["url"] == URL
    assert response.headers["Location"] == f"/v1/jobs/{document['id']}"
    assert client.get(response.headers["Location"]).get_json() == document
    job = read_job(sessions, uuid.UUID(document["id"]))
    assert (job.owner_id, job.address, job.lane) == (LOCAL_OWNER, URL, "interactive")
    assert publisher.inspect(Lane.INTERACTIVE).length == 1


def test_the_bulk_lane_has_its_own_queue(client: FlaskClient, publisher: Publisher) -> None:
    assert client.post("/v1/jobs", json={"url": URL, "lane": "bulk"}).status_code == 202

    assert publisher.inspect(Lane.BULK).length == 1
    assert publisher.inspect(Lane.INTERACTIVE).length == 0


def test_an_upload_is_stored_and_becomes_a_job(client: FlaskClient, sessions: Sessions, settings: Settings) -> None:
    response = upload(client, external_id="sku-2", lane="bulk")

    assert response.status_code == 202
    job = read_job(sessions, uuid.UUID(response.get_json()["id"]))
    assert (job.is_upload, job.external_id, job.lane) == (True, "sku-2", "bulk")
    assert open_storage(settings).get(job.address, 1000) == PICTURE


def test_a_presigned_query_string_is_stored_but_never_exposed(
    client: FlaskClient, sessions: Sessions, capfd: pytest.CaptureFixture[str]
) -> None:
    response = client.post("/v1/jobs", json={"url": f"{URL}?X-Amz-Signature=hush"})

    location = response.headers["Location"]
    shown = [response.text, client.get(location).text, client.get("/v1/jobs").text]
    assert all("hush" not in text and "Amz" not in text for text in [*shown, *capfd.readouterr()])
    job = read_job(sessions, uuid.UUID(response.get_json()["id"]))
    assert job.address == f"{URL}?X-Amz-Signature=hush"


def test_a_rejected_url_does_not_echo_its_secret(client: FlaskClient) -> None:
    for url in (
        "ftp://shop.example/a.jpg?sig=hush",
        "https://user:hush@shop.example/a.jpg",
        "shop.example/a.jpg?sig=hush",
        "htps://user:hush@shop.example/a.jpg",
        '"https://shop.example/a.jpg?sig=hush"',
        "hush",
    ):
        assert "hush" not in client.post("/v1/jobs", json={"url": url}).text


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        (f" {URL}\t", URL),
        (f"{URL}\r\n", URL),
        (f"\ufeff\xa0{URL}\u200b", URL),
        ("https://shop.example/blue shirt.jpg?size=x l", "https://shop.example/blue%20shirt.jpg?size=x%20l"),
        ("https://straße.example/a.jpg", "https://xn--strae-oqa.example/a.jpg"),
        ("https://%65xample.com/a.jpg", "https://example.com/a.jpg"),
        ("https://i❤.example/a.jpg", "https://xn--i-7iq.example/a.jpg"),
        (" s3://shop-photos/a b.jpg\n", "s3://shop-photos/a b.jpg"),
    ],
)
def test_a_url_is_stored_in_its_normal_form(client: FlaskClient, sessions: Sessions, written: str, normal: str) -> None:
    response = client.post("/v1/jobs", json={"url": written})

    assert response.status_code == 202
    assert read_job(sessions, response.get_json()["id"]).address == normal


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("//cdn.example/x.jpg", "write https://cdn.example/x.jpg instead"),
        ("cdn.example/x.jpg", "write https://cdn.example/x.jpg instead"),
        ("http:shop.example/x.jpg", "write http://shop.example/x.jpg instead"),
        ("data:image/png;base64," + "A" * 8000, "upload the file's bytes in the field `file`"),
        ("gs://bucket/x.jpg", "use its https address or a presigned URL"),
        ("https://xn--a.example/x.jpg", "invalid `xn--` label"),
        ("https://shop.example/" + "a" * 5000, "at most 2048 characters"),
    ],
)
def test_a_refused_url_says_what_was_meant(client: FlaskClient, url: str, said: str) -> None:
    problem = assert_problem(client.post("/v1/jobs", json={"url": url}), 422, "invalid_address")
    assert said in problem["detail"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "shirt.jpg",
        "https://shop.example/a\tb.jpg",
        "https://shop.example/a\r\nHost: b",
        "https://shop.example\\a.jpg",
        "ftp://shop.example/shirt.jpg",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "upload://local/ab/" + "ab" * 32,
        "https://user:password@shop.example/shirt.jpg",
        "s3://a",
    ],
)
def test_an_invalid_url_is_rejected(client: FlaskClient, url: str) -> None:
    assert_problem(client.post("/v1/jobs", json={"url": url}), 422, "invalid_address")
    assert client.get("/v1/jobs").get_json()["jobs"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": None}, "url"),
        ({"url": 7}, "url"),
        ({"url": URL, "webhook": "x"}, "webhook"),
        ({"url": URL, "lane": "fast"}, "lane"),
        ({"url": URL, "external_id": ""}, "external_id"),
        ({"url": URL, "external_id": "a\0b"}, "external_id"),
        ({"url": URL, "external_id": "a" * 201}, "external_id"),
        ([], "body"),
    ],
)
def test_an_invalid_field_is_named(client: FlaskClient, body: Any, field: str) -> None:
    problem = assert_problem(client.post("/v1/jobs", json=body), 422, "invalid_request")

    assert [error["field"] for error in problem["errors"]] == [field]
    assert problem["errors"][0]["location"] == "json"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"url": "\\ud800"}', b"[" * 10_000])
def test_malformed_json_is_rejected(client: FlaskClient, body: bytes) -> None:
    response = client.post("/v1/jobs", data=body, content_type="application/json")

    assert_problem(response, 400, "malformed_json")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "image/jpeg", ""])
def test_unsupported_content_types_are_rejected(client: FlaskClient, content_type: str) -> None:
    response = client.post("/v1/jobs", data=b"url=x", content_type=content_type)

    assert_problem(response, 415, "unsupported_content_type")


def test_exactly_one_nonempty_file_is_required(client: FlaskClient) -> None:
    two = {"file": [(io.BytesIO(b"a"), "a.jpg"), (io.BytesIO(b"b"), "b.jpg")]}
    other = {"picture": (io.BytesIO(b"a"), "a.jpg")}

    for form in (two, other, {"external_id": "x"}):
        response = client.post("/v1/jobs", data=form, content_type="multipart/form-data")
        problem = assert_problem(response, 422, "invalid_request")
        assert problem["errors"][0]["field"] == "file"
    assert_problem(upload(client, b""), 422, "invalid_request")
    assert_problem(upload(client, lane="fast"), 422, "invalid_request")


def test_an_idempotency_key_prevents_a_second_job(client: FlaskClient, publisher: Publisher) -> None:
    headers = {"Idempotency-Key": "order-1"}

    first = client.post("/v1/jobs", json={"url": URL}, headers=headers)
    second = client.post("/v1/jobs", json={"url": URL}, headers=headers)

    assert (first.status_code, second.status_code) == (202, 202)
    assert first.get_json()["id"] == second.get_json()["id"]
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert publisher.inspect(Lane.INTERACTIVE).length == 1


def test_an_idempotency_key_also_applies_to_uploads(client: FlaskClient) -> None:
    first, second = (upload(client, headers={"Idempotency-Key": "order-2"}) for _ in range(2))

    assert first.get_json()["id"] == second.get_json()["id"]


def test_an_idempotency_key_with_a_different_request_is_rejected(client: FlaskClient) -> None:
    headers = {"Idempotency-Key": "order-1"}
    client.post("/v1/jobs", json={"url": URL}, headers=headers)

    response = client.post("/v1/jobs", json={"url": f"{URL}x"}, headers=headers)

    assert_problem(response, 422, "idempotency_key_reused")


def test_an_overlong_idempotency_key_is_rejected(client: FlaskClient) -> None:
    response = client.post("/v1/jobs", json={"url": URL}, headers={"Idempotency-Key": "a" * 201})

    problem = assert_problem(response, 422, "invalid_request")
    assert problem["errors"][0]["field"] == "idempotency-key"

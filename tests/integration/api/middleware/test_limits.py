"""Sizes: too large is said as such, and nothing of it is kept."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from api.app import create_app
from api.services import services_of
from core.settings import ApiSettings, Settings
from tests.integration.api.routes.test_create_job import assert_problem, upload


@pytest.fixture
def small(settings: Settings) -> Iterator[FlaskClient]:
    """A service that takes pictures of 1,000 bytes in requests of 5,000."""
    fetch = settings.fetch.model_copy(update={"max_bytes": 1000})
    app = create_app(
        settings.model_copy(update={"fetch": fetch, "api": ApiSettings(require_key=False, max_request_bytes=5000)})
    )
    yield app.test_client()
    services_of(app).close()


def test_the_largest_file_is_taken_and_one_byte_more_is_not(small: FlaskClient, settings: Settings) -> None:
    assert upload(small, b"a" * 1000).status_code == 202
    assert_problem(upload(small, b"b" * 1001), 413, "image_too_large")

    assert len([path for path in settings.storage.folder.rglob("*") if path.is_file()]) == 1


def test_an_overlong_request_is_refused(small: FlaskClient) -> None:
    assert_problem(upload(small, b"a" * 6000), 413, "request_too_large")


def test_a_body_of_unknown_length_is_counted_too(small: FlaskClient) -> None:
    body = b"--x\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n" + b"a" * 6000 + b"\r\n--x--\r\n"

    response = small.post(
        "/v1/jobs",
        input_stream=io.BytesIO(body),
        content_type="multipart/form-data; boundary=x",
        environ_overrides={"wsgi.input_terminated": True},
    )

    assert_problem(response, 413, "request_too_large")


def test_json_has_its_own_smaller_limit(client: FlaskClient) -> None:
    response = client.post("/v1/jobs", json={"url": "https://shop.example/" + "a" * 70_000})

    assert_problem(response, 413, "request_too_large")

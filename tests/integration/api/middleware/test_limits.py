"""Size limits: oversized requests and files are rejected, and nothing of them is stored."""

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
    """A service with limits of 1,000 bytes per image and 5,000 bytes per request."""
    fetch = settings.fetch.model_copy(update={"max_bytes": 1000})
    app = create_app(
        settings.model_copy(update={"fetch": fetch, "api": ApiSettings(require_key=False, max_request_bytes=5000)})
    )
    yield app.test_client()
    services_of(app).close()


def test_the_file_size_limit_is_exact(small: FlaskClient, settings: Settings) -> None:
    assert upload(small, b"a" * 1000).status_code == 202
    assert_problem(upload(small, b"b" * 1001), 413, "image_too_large")

    assert len([path for path in settings.storage.folder.rglob("*") if path.is_file()]) == 1


def test_a_request_over_the_size_limit_is_rejected(small: FlaskClient) -> None:
    assert_problem(upload(small, b"a" * 6000), 413, "request_too_large")


def test_the_size_limit_applies_to_bodies_of_unknown_length(small: FlaskClient) -> None:
    body = b"--x\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n" + b"a" * 6000 + b"\r\n--x--\r\n"

    response = small.post(
        "/v1/jobs",
        input_stream=io.BytesIO(body),
        content_type="multipart/form-data; boundary=x",
        environ_overrides={"wsgi.input_terminated": True},
    )

    assert_problem(response, 413, "request_too_large")


def test_json_has_a_smaller_size_limit(client: FlaskClient) -> None:
    response = client.post("/v1/jobs", json={"url": "https://shop.example/" + "a" * 70_000})

    assert_problem(response, 413, "request_too_large")

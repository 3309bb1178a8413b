"""Request ids, security headers, and problem documents for all errors."""

from __future__ import annotations

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient

from tests.integration.api.routes.test_create_job import assert_problem

PATHS = ["/", "/docs", "/docs/errors", "/openapi.json", "/healthz", "/v1/jobs", "/v1/jobs/7", "/nothing"]


@pytest.mark.parametrize("path", PATHS)
def test_every_response_has_a_request_id_and_security_headers(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    response.close()

    assert len(response.headers["X-Request-Id"]) == 32
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_a_valid_request_id_of_the_caller_is_kept(client: FlaskClient) -> None:
    assert client.get("/healthz", headers={"X-Request-Id": "abc-1"}).headers["X-Request-Id"] == "abc-1"
    assert client.get("/healthz", headers={"X-Request-Id": "a b"}).headers["X-Request-Id"] != "a b"


def test_unknown_routes_and_methods(client: FlaskClient) -> None:
    assert_problem(client.get("/v2/jobs"), 404, "route_not_found")
    response = client.put("/v1/jobs")
    assert_problem(response, 405, "method_not_allowed")
    assert "POST" in response.headers["Allow"]


def test_an_unexpected_error_exposes_no_details(app: APIFlask) -> None:
    @app.get("/broken")
    def broken() -> str:
        raise RuntimeError("the password is hush")

    response = app.test_client().get("/broken?sig=hush")

    assert_problem(response, 500, "internal_error")
    assert "hush" not in response.text

"""Without API keys, local requests are accepted; those of foreign pages, host names and proxies are rejected."""

from __future__ import annotations

import subprocess
import sys

import pytest
from flask.testing import FlaskClient

from core.settings import Settings
from tests.integration.api.routes.test_create_job import URL, assert_problem
from tests.processes import environment

LOCAL_HOSTS = ["localhost", "localhost:8000", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8000", "127.9.9.9", "[::1]:8000"]
FOREIGN_HOSTS = [
    "shop.example", "shop.example:8000", "localhost.shop.example", "127.0.0.1.nip.io", "10.0.0.1", "0.0.0.0:8000",
    "[::]", "[2001:db8::1]:8000", "localhost@shop.example", "localhost:8000:1", "localhost.", "2130706433", "", " ",
]  # fmt: skip
PAGE = {"Host": "localhost:8000", "Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:8000"}


@pytest.mark.parametrize("host", LOCAL_HOSTS)
def test_local_programs_and_our_own_page_are_accepted(client: FlaskClient, host: str) -> None:
    origin = {"Origin": f"http://{host.lower()}", "Sec-Fetch-Site": "same-origin"}
    for more in ({}, origin, {"Sec-Fetch-Site": "none"}):
        headers = {"Host": host, **more}
        assert client.post("/v1/jobs", json={"url": URL}, headers=headers).status_code == 202
        assert client.get("/v1/jobs", headers=headers).status_code == 200


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_foreign_host_names_are_rejected(client: FlaskClient, host: str) -> None:
    for path in ("/v1/jobs", "/", "/openapi.json", "/readyz"):
        assert_problem(client.get(path, headers={"Host": host}), 403, "not_local")
    assert_problem(client.post("/v1/jobs", json={"url": URL}, headers={"Host": host}), 403, "not_local")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://shop.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://localhost:3000"},
        {"Origin": "https://localhost:8000"},
        {"Origin": "http://127.0.0.1:8000"},
        {"Origin": "http://localhost:8000.shop.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
)
def test_pages_of_other_origins_are_rejected(client: FlaskClient, headers: dict[str, str]) -> None:
    headers = {"Host": "localhost:8000", **headers}
    # As sent by a plain form, which needs no CORS preflight.
    form = {"url": URL}
    for response in (
        client.post("/v1/jobs", json={"url": URL}, headers=headers),
        client.post("/v1/jobs", data=form, headers=headers),
        client.get("/v1/jobs", headers=headers),
    ):
        assert_problem(response, 403, "not_local")
        assert not [name for name in response.headers.keys() if name.startswith("Access-Control")]  # noqa: SIM118


def test_other_sites_may_link_to_pages_only(client: FlaskClient) -> None:
    link = {"Host": "localhost:8000", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    for path in ("/", "/docs", "/docs/errors"):
        response = client.get(path, headers=link)
        assert response.status_code == 200
        response.close()
    assert_problem(client.get("/openapi.json", headers=link), 403, "not_local")


@pytest.mark.parametrize(
    "name",
    ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "x-real-ip", "Via", "CF-Connecting-IP"],
)
def test_forwarded_requests_are_rejected(client: FlaskClient, name: str) -> None:
    for value in ("127.0.0.1", ""):
        assert_problem(client.get("/v1/jobs", headers={name: value}), 403, "not_local")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "shop.example", ""])
def test_without_keys_the_service_does_not_start_on_a_network(settings: Settings, host: str) -> None:
    api = settings.api.model_copy(update={"host": host, "port": 0})
    command = [sys.executable, "-m", "cli.main"]

    done = subprocess.run(
        [*command, "api"],
        env=environment(settings.model_copy(update={"api": api})),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert done.returncode == 2
    assert "may listen on a loopback address only" in done.stderr
    assert "Traceback" not in done.stderr

"""Odd answers over raw sockets: read as a browser reads them, or refused with the right code and a true sentence."""

from __future__ import annotations

import time

import pytest

from core.errors import JobError
from core.net.http import GuardedClient
from core.settings import FetchSettings
from tests.odd_answers import ANSWERS, LIMIT, ODD
from tests.odd_server import OddServer

SETTINGS = FetchSettings(
    allow_networks=("127.0.0.0/8",), connect_timeout_s=1, read_timeout_s=0.5, total_timeout_s=3, max_bytes=LIMIT
)


@pytest.fixture(scope="module")
def server():
    with OddServer(ANSWERS) as running:
        yield running


@pytest.fixture(scope="module")
def client():
    made = GuardedClient(SETTINGS)
    yield made
    made.close()


@pytest.mark.parametrize("name", [name for name, odd in ODD.items() if odd.error is None])
def test_odd_answers_are_read(client, server, name):
    assert client.get(server.url(f"/{name}")).body == ODD[name].body


@pytest.mark.parametrize("name", [name for name, odd in ODD.items() if odd.error is not None])
def test_bad_answers_are_refused(client, server, name):
    with pytest.raises(JobError, match=ODD[name].says) as caught:
        client.get(server.url(f"/{name}"))

    assert type(caught.value) is ODD[name].error
    assert str(server.port) not in caught.value.message


@pytest.mark.parametrize("name", ["line-without-colon", "blank-before-colon", "chunked-lf-only", "length-listed"])
def test_connections_are_reused_after_odd_answers(client, server, name):
    client.get(server.url(f"/{name}"))
    before = server.connections
    client.get(server.url(f"/{name}"))
    assert server.connections == before


def test_connections_with_an_unread_rest_are_not_reused(client, server):
    for _ in range(3):
        client.get(server.url("/redirect-without-body"))
        client.get(server.url("/length-too-short"))


@pytest.mark.parametrize("name", ["gzip-of-many-members", "interim-without-end", "gzip-bomb-in-gzip"])
def test_hostile_answers_cost_little(client, server, name):
    started = time.process_time()
    with pytest.raises(JobError):
        client.get(server.url(f"/{name}"))
    assert time.process_time() - started < 1

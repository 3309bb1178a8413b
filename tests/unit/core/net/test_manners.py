"""What a fetch sends and remembers: Accept, cookies within one chain of redirects, Retry-After."""

from __future__ import annotations

import email.utils
import socket
import time
from urllib.parse import unquote

import pytest

from core import errors
from core.net.http import GuardedClient
from core.settings import FetchSettings
from tests.odd_answers import JPEG, http, redirect, status
from tests.odd_server import OddServer, Request

PUBLIC = "93.184.216.34"


def _start(request: Request) -> bytes:
    """/start?HOST/PATH|COOKIE|COOKIE…: sets the cookies and redirects."""
    to, *cookies = unquote(request.target).partition("?")[2].split("|")
    return redirect(f"http://{to}", 302, *(f"Set-Cookie: {cookie}" for cookie in cookies))


def _fussy(request: Request) -> bytes:
    return http() if "image/*" in request.headers.get("accept", "") else status(403)


ANSWERS = {"/start": _start, "/a/start": _start, "/fussy": _fussy, "/post": http(body=b"thanks")}
ANSWERS["/forget"] = redirect("/good", 302, "Set-Cookie: a=; Max-Age=0")
ANSWERS |= dict.fromkeys(("/good", "/a/good", "/ab/good"), http())


@pytest.fixture(scope="module")
def server():
    with OddServer(ANSWERS) as running:
        yield running


@pytest.fixture
def client(server):
    """A client for which every name leads to the server."""

    def connect(ip, port, timeout_s):
        return socket.create_connection(("127.0.0.1", server.port), timeout_s)

    made = GuardedClient(FetchSettings(), resolve=lambda host, port: [PUBLIC], connect=connect)
    yield made
    made.close()


def test_images_are_asked_for(client, server):
    assert client.get("http://shop.example/fussy").body == JPEG
    sent = server.requests[-1].headers
    assert sent["accept"] == "image/*,*/*;q=0.8"
    assert sent["accept-encoding"] == "identity"


def test_a_post_sends_its_own_headers_only(client, server):
    client.request("POST", "http://shop.example/post", body=b"{}", headers={"user-agent": "mine", "X-Own": "1"})
    sent = server.requests[-1].headers
    assert sent.keys() == {"host", "user-agent", "accept-encoding", "content-length", "x-own"}
    assert sent["user-agent"] == "mine"


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("shop.example/start?shop.example/good|a=1|b=2; Path=/; HttpOnly; SameSite=Lax", {"a=1", "b=2"}),
        ("shop.example/start?shop.example:8080/good|a=1", {"a=1"}),
        ("shop.example/start?shop.example/good|a=1; Domain=shop.example", {"a=1"}),
        ("shop.example/start?shop.example/good|a=1; Domain=.shop.example; Max-Age=60", {"a=1"}),
        ("shop.example/start?shop.example/good|a=1; Expires=Wed, 01 Jan 2070 00:00:00 GMT", {"a=1"}),
        ("shop.example/start?shop.example/good|a=1|a=2", {"a=2"}),
        ("shop.example/start?shop.example/forget|a=1|b=2", {"b=2"}),
        ("shop.example/start?shop.example/good|a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", set()),
        ("shop.example/start?shop.example/good|a=1; Secure", set()),
        ("shop.example/a/start?shop.example/a/good|a=1", {"a=1"}),
        ("shop.example/a/start?shop.example/good|a=1", set()),
        ("shop.example/a/start?shop.example/ab/good|a=1; Path=/a", set()),
        ("shop.example/start?shop.example/a/good|a=1; Path=/a", {"a=1"}),
        ("shop.example/start?other.example/good|a=1", set()),
        ("shop.example/start?www.shop.example/good|a=1", set()),
        ("shop.example/start?www.shop.example/good|a=1; Domain=shop.example", set()),
        ("www.shop.example/start?shop.example/good|a=1", set()),
        ("www.shop.example/start?img.shop.example/good|a=1; Domain=shop.example", set()),
        ("shop.co.uk/start?other.co.uk/good|a=1; Domain=co.uk", set()),
        ("shop.example/start?shop.example/good|a=1; Domain=other.example", set()),
        ("shop.example/start?other.example/good|a=1; Domain=other.example", set()),
    ],
)
def test_cookies_return_to_their_host_only(client, server, start, expected):
    assert client.get(f"http://{start.replace(' ', '%20')}").body == JPEG

    sent = server.requests[-1].headers.get("cookie", "")
    assert {cookie for cookie in sent.split("; ") if cookie} == expected


def test_cookies_survive_a_detour(client, server):
    client.get("http://shop.example/start?other.example/start?shop.example/good|a=1")
    assert [request.headers.get("cookie") for request in server.requests[-3:]] == [None, None, "a=1"]


def test_cookies_are_forgotten_after_the_chain(client, server):
    client.get("http://shop.example/start?shop.example/good|a=1")
    client.get("http://shop.example/good")
    assert "cookie" not in server.requests[-1].headers


def test_cookies_are_not_kept_without_redirects(client, server):
    answer = client.request("GET", "http://shop.example/start?shop.example/good|a=1")
    assert answer.status == 302
    client.request("GET", "http://shop.example/good")
    assert "cookie" not in server.requests[-1].headers


def _date(seconds: float) -> str:
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


@pytest.mark.parametrize("code", [202, 429, 503])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", 120),
        (" 120 ", 120),
        ("0", 0),
        (lambda: _date(90), 90),
        (lambda: _date(-90), 0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0),
        ("99999999999", 6 * 3600),
        ("9" * 5000, None),
        ("-5", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_read(client, code, value, expected):
    text = value() if callable(value) else value
    with OddServer({"/busy": status(code, f"Retry-After: {text}")}) as busy:
        local = GuardedClient(FetchSettings(allow_networks=("127.0.0.0/8",)))
        with pytest.raises(errors.FetchFailed) as caught:
            local.get(busy.url("/busy"))
        local.close()

    assert caught.value.retry_after_s == (expected if expected is None else pytest.approx(expected, abs=3))


def test_retry_after_means_nothing_where_a_retry_does_not_help(client):
    with OddServer({"/gone": status(404, "Retry-After: 5")}) as gone:
        local = GuardedClient(FetchSettings(allow_networks=("127.0.0.0/8",)))
        with pytest.raises(errors.NotFound) as caught:
            local.get(gone.url("/gone"))
        local.close()
    assert caught.value.retry_after_s is None


def test_redirects_to_hosts_beyond_ascii_are_followed(client, server):
    client.get("http://shop.example/start?größe.example/good".replace("ö", "%C3%B6").replace("ß", "%C3%9F"))
    assert server.requests[-1].headers["host"] == "xn--gre-6ka8i.example"


def test_an_idle_connection_that_the_server_closes_is_replaced(client, server):
    for _ in range(20):  # the server closes after each answer without saying so
        assert client.get("http://shop.example/good").body == JPEG

"""Every way we know to spell our own network is refused; the public internet and allowed networks are not."""

from __future__ import annotations

import socket

import pytest

from core.errors import FetchBlocked, FetchFailed, FetchRefused
from core.net.ssrf_guard import Guard
from core.net.urls import Address
from core.settings import FetchSettings
from tests.fuzz.addresses import INSIDE, PUBLIC, resolve


def _guard(**settings):
    return Guard(FetchSettings(**settings), resolve)


def _approve(url, **settings):
    return _guard(**settings).approve(Address.parse(url))


@pytest.mark.parametrize("host", INSIDE)
def test_our_own_network_is_refused(host):
    with pytest.raises(FetchBlocked) as caught:
        _approve(f"http://{host}/latest/meta-data/")
    assert not any(digit in caught.value.message for digit in "0123456789")


def test_the_list_is_long_enough():
    assert len(set(INSIDE)) >= 30


@pytest.mark.parametrize(
    "host", ["shop.example", "shop6.example", "nat64.example", PUBLIC, f"[::ffff:{PUBLIC}]", "[2606:4700::1]"]
)
def test_the_internet_is_approved(host):
    target = _approve(f"https://{host}/")

    assert (target.scheme, target.port) == ("https", 443)
    assert target.ips


def test_the_target_keeps_name_and_address():
    target = _approve("http://Shop.example:8080/")

    assert (target.host, target.port, target.ips) == ("shop.example", 8080, (PUBLIC,))


@pytest.mark.parametrize("port", [22, 25, 5432, 6379, 9200])
def test_other_ports_are_refused(port):
    with pytest.raises(FetchBlocked, match=str(port)):
        _approve(f"http://shop.example:{port}/")


def test_no_ports_means_any_port():
    assert _approve("http://shop.example:5000/", ports=()).port == 5000


def test_schemes_follow_the_settings():
    with pytest.raises(FetchBlocked, match="http"):
        _approve("http://shop.example/", schemes=("https",))
    with pytest.raises(FetchBlocked, match="s3"):
        _approve("s3://bucket/key")


@pytest.mark.parametrize("host", ["10.1.2.3", "[::ffff:10.1.2.3]", "internal.example"])
def test_allowed_networks_may_be_asked_on_any_port(host):
    assert _approve(f"http://{host}:5000/", allow_networks=("10.1.0.0/16",)).port == 5000
    with pytest.raises(FetchBlocked):
        _approve(f"http://{host}/", allow_networks=("10.2.0.0/16", "fd00::/8"))


def test_one_allowed_address_does_not_open_the_other():
    with pytest.raises(FetchBlocked):
        _approve("http://two-faced.example/", allow_networks=(f"{PUBLIC}/32",))


def test_a_name_is_resolved_once():
    calls = []

    def resolve(host, port):
        calls.append(host)
        return [PUBLIC] if len(calls) == 1 else ["127.0.0.1"]

    assert Guard(FetchSettings(), resolve).approve(Address.parse("http://rebind.example/")).ips == (PUBLIC,)
    assert calls == ["rebind.example"]


@pytest.mark.parametrize(
    ("failure", "error", "is_retryable"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), FetchRefused, False),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), FetchFailed, True),
        (OSError("out of sockets"), FetchFailed, True),
    ],
)
def test_failed_look_ups(failure, error, is_retryable):
    def resolve(host, port):
        raise failure

    with pytest.raises(FetchFailed) as caught:
        Guard(FetchSettings(), resolve).approve(Address.parse("http://shop.example/"))
    assert type(caught.value) is error
    assert caught.value.retryable is is_retryable


def test_a_name_without_addresses_is_refused():
    with pytest.raises(FetchRefused):
        _approve("http://nothing.example/")

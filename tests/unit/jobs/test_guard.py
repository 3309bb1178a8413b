"""Every way we know to spell our own network is refused; the public internet and allowed networks are not."""

from __future__ import annotations

import socket

import pytest

from jobs.addresses import Address
from jobs.errors import FetchBlocked, FetchFailed, FetchRefused
from jobs.guard import Guard, resolve_host
from jobs.settings import FetchSettings

PUBLIC = "93.184.216.34"
NAMES = {
    "localhost.": ["127.0.0.1", "::1"],  # not every system resolver knows it with the dot
    "127.0.0.1.nip.example": ["127.0.0.1"],
    "internal.example": ["10.1.2.3"],
    "metadata.google.internal": ["169.254.169.254"],
    "two-faced.example": [PUBLIC, "192.168.1.1"],
    "two-faced-v6.example": [PUBLIC, "fd00::1"],
    "mapped.example": ["::ffff:10.0.0.1"],
    "linklocal.example": ["fe80::1%2"],
    "shop.example": [PUBLIC],
    "shop6.example": ["2606:2800:220:1:248:1893:25c8:1946"],
    "nat64.example": ["64:ff9b::5db8:d822"],
    "nothing.example": [],
}

INSIDE = [
    # loopback: dotted, short, decimal, octal, hex, mixed, full-width, circled, ideographic dots
    "127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7F.1",
    "0177.0.0.1", "017700000001", "0177.0x0.1", "127.0.0.1.", "１２７.０.０.１", "①②⑦.0.0.1", "127。0。0。1",
    "localhost", "LOCALHOST", "localhost.",
    # this host, private, shared, link-local and metadata, documentation, benchmarks, multicast, reserved, broadcast
    "0", "0.0.0.0", "0.1.2.3", "10.0.0.1", "012.0.0.1", "167772161", "172.16.0.1", "172.31.255.255", "192.168.0.1",
    "3232235521", "100.64.0.1", "100.100.100.200", "169.254.169.254", "2852039166", "0xA9FEA9FE", "0251.0376.0251.0376",
    "168.63.129.16", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    # IPv6: loopback, unspecified, mapped, compatible, NAT64 and 6to4 and Teredo of private ones, ULA, local, multicast
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:169.254.169.254]",
    "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::a00:1]", "[2002:7f00:1::]",
    "[2002:a00:1::1]", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]", "[fc00::1]", "[fd00:ec2::254]", "[fd20:ce::254]",
    "[fe80::1]", "[fec0::1]", "[ff02::1]", "[2001:db8::1]", "[3fff::1]", "[100::1]", "[5f00::1]",
    # names, as a resolver answers them
    "127.0.0.1.nip.example", "internal.example", "metadata.google.internal", "two-faced.example",
    "two-faced-v6.example", "mapped.example", "linklocal.example",
]  # fmt: skip


def _resolve(host, port):
    return NAMES[host] if host in NAMES else resolve_host(host, port)


def _guard(**settings):
    return Guard(FetchSettings(**settings), _resolve)


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

"""The guarded client against a real server: what is fetched, what is refused, and how long anything may take."""

from __future__ import annotations

import datetime
import gzip
import ipaddress
import logging
import socket
import ssl
import threading
import time
import tracemalloc

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core import errors
from core.net.content_encoding import decoded
from core.net.http import GuardedClient
from core.settings import FetchSettings
from tests import pictures
from tests.image_server import ImageServer

PUBLIC = "93.184.216.34"
QUICK = {"connect_timeout_s": 1, "read_timeout_s": 0.3, "total_timeout_s": 0.8, "max_bytes": 1024 * 1024}


@pytest.fixture(scope="module")
def server():
    with ImageServer() as running:
        yield running


@pytest.fixture
def client():
    made = GuardedClient(FetchSettings(allow_networks=("127.0.0.0/8",), **QUICK))
    yield made
    made.close()


def test_picture_is_fetched(client, server):
    fetched = client.get(server.url("/good.jpg?signature=1"))

    assert fetched.body == pictures.jpeg()
    assert fetched.content_type == "image/jpeg"
    assert server.requests[-1] == ("/good.jpg?signature=1", f"127.0.0.1:{server.port}")


@pytest.mark.parametrize("path", ["/wrong-type", "/chunked", "/gzip/good", "/redirect/5"])
def test_odd_but_right_answers_are_fetched(client, server, path):
    assert client.get(server.url(path)).body == pictures.jpeg()


def test_redirects_tell_the_last_address(client, server):
    assert client.get(server.url("/redirect/2")).url == server.url("/good.jpg")


@pytest.mark.parametrize(
    ("path", "error", "is_retryable"),
    [
        ("/nowhere", errors.NotFound, False),
        ("/status/404", errors.NotFound, False),
        ("/status/410", errors.NotFound, False),
        ("/status/401", errors.AccessDenied, False),
        ("/status/403", errors.AccessDenied, False),
        ("/status/451", errors.AccessDenied, False),
        ("/status/400", errors.FetchRefused, False),
        ("/status/418", errors.FetchRefused, False),
        ("/status/304", errors.FetchRefused, False),
        ("/status/429", errors.FetchFailed, True),
        ("/status/500", errors.FetchFailed, True),
        ("/status/503", errors.FetchFailed, True),
        ("/redirect/6", errors.FetchRefused, False),
        ("/loop/a", errors.FetchRefused, False),
        ("/redirect-to", errors.FetchBlocked, False),
        ("/redirect-to?http://10.0.0.1/x.jpg", errors.FetchBlocked, False),
        ("/redirect-to?http://[::1]/x.jpg", errors.FetchBlocked, False),
        ("/redirect-to?file:///etc/passwd", errors.FetchBlocked, False),
        ("/redirect-to?s3://bucket/key", errors.FetchBlocked, False),
        ("/redirect-to?upload://local/ab/cd", errors.FetchBlocked, False),
        ("/redirect-to?http://[", errors.FetchBlocked, False),
        ("/drip", errors.FetchTimeout, True),
        ("/drip-headers", errors.FetchTimeout, True),
        ("/silent", errors.FetchTimeout, True),
        ("/lying-length", errors.FetchFailed, True),
        ("/truncated-chunks", errors.FetchFailed, True),
        ("/reset", errors.FetchFailed, True),
        ("/hang-up", errors.FetchFailed, True),
        ("/huge/length", errors.ImageTooLarge, False),
        ("/huge/stream", errors.ImageTooLarge, False),
        ("/gzip/bomb", errors.ImageTooLarge, False),
        ("/gzip/broken", errors.FetchFailed, True),
        ("/gzip/brotli", errors.FetchRefused, False),
    ],
)
def test_bad_answers_become_our_errors_in_time(client, server, path, error, is_retryable):
    started = time.monotonic()
    with pytest.raises(errors.JobError) as caught:
        client.get(server.url(path))

    assert type(caught.value) is error
    assert caught.value.retryable is is_retryable
    assert str(server.port) not in caught.value.message
    assert "169.254" not in caught.value.message
    assert time.monotonic() - started < 2


def test_closed_port_is_a_retryable_failure(client):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with pytest.raises(errors.FetchFailed) as caught:
        client.get(f"http://127.0.0.1:{port}/")
    assert caught.value.retryable


def test_connections_are_reused_and_bounded(server):
    client = GuardedClient(FetchSettings(allow_networks=("127.0.0.0/8",), max_idle_connections=2, **QUICK))
    before = server.connections
    for path in ("/good.jpg", "/status/404", "/chunked", "/good.jpg"):
        client.request("GET", server.url(path))
    assert server.connections == before + 2  # the long page of the 404 is not read to its end: one new connection

    threads = [threading.Thread(target=client.get, args=(server.url("/good.jpg"),)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(client._connections._idle) <= 2
    client.close()


def test_post_sends_the_body_and_reports_any_status(client, server):
    answer = client.request("POST", server.url("/status/500"), body=b"{}", headers={"Content-Type": "application/json"})

    assert answer.status == 500
    assert not answer.is_success
    assert answer.body.startswith(b"sorry")
    assert len(answer.body) == 4096
    assert server.received[-1] == b"{}"


def test_public_host_is_fetched_and_pinned(server):
    asked: list[tuple[str, int]] = []

    def connect(ip, port, timeout_s):
        asked.append((ip, port))
        return socket.create_connection(("127.0.0.1", server.port), timeout_s)

    client = GuardedClient(FetchSettings(**QUICK), resolve=lambda host, port: [PUBLIC], connect=connect)
    assert client.get("http://shop.example/good.jpg").body == pictures.jpeg()
    client.close()

    assert asked == [(PUBLIC, 80)]
    assert server.requests[-1] == ("/good.jpg", "shop.example")


def test_name_is_resolved_once_per_request(server):
    answers = iter([[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]])
    resolved: list[str] = []

    def resolve(host, port):
        resolved.append(host)
        return next(answers)

    def connect(ip, port, timeout_s):
        assert ip == PUBLIC
        return socket.create_connection(("127.0.0.1", server.port), timeout_s)

    client = GuardedClient(FetchSettings(**QUICK), resolve=resolve, connect=connect)
    assert client.get("http://rebind.example/good.jpg").body == pictures.jpeg()
    assert resolved == ["rebind.example"]
    with pytest.raises(errors.FetchBlocked):  # an idle connection is no way round the second answer
        client.get("http://rebind.example/good.jpg")
    client.close()


def test_idle_connections_do_not_outlive_the_name_s_address(server):
    moved = "93.184.216.99"
    answers = iter([[PUBLIC], [moved], [moved]])
    opened: list[str] = []

    def connect(ip, port, timeout_s):
        opened.append(ip)
        return socket.create_connection(("127.0.0.1", server.port), timeout_s)

    client = GuardedClient(FetchSettings(**QUICK), resolve=lambda host, port: next(answers), connect=connect)
    for _ in range(3):
        client.get("http://shop.example/good.jpg")
    client.close()
    assert opened == [PUBLIC, moved]


def test_a_compression_bomb_is_never_unpacked_whole():
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    tracemalloc.start()
    with pytest.raises(errors.ImageTooLarge):
        decoded(bomb, "gzip", 1024 * 1024)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


def test_next_address_is_tried_when_one_is_down(server):
    def connect(ip, port, timeout_s):
        if ip != PUBLIC:
            raise ConnectionRefusedError
        return socket.create_connection(("127.0.0.1", server.port), timeout_s)

    client = GuardedClient(
        FetchSettings(**QUICK), resolve=lambda host, port: ["93.184.216.35", PUBLIC], connect=connect
    )
    assert client.get("http://shop.example/good.jpg").body
    client.close()


def test_environment_proxies_are_not_used(client, server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    assert client.get(server.url("/good.jpg")).body


def test_malformed_headers_do_not_log_the_query(client, server, caplog):
    with caplog.at_level(logging.DEBUG):
        client.get(server.url("/odd-headers?signature=hush"))

    assert "hush" not in caplog.text


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A CA file, and a server's context with a certificate for shop.example only."""
    folder = tmp_path_factory.mktemp("tls")
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    ca = _certificate(name, name, ca_key.public_key(), ca_key, x509.BasicConstraints(ca=True, path_length=None))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example")])
    names = x509.SubjectAlternativeName(
        [x509.DNSName("shop.example"), x509.IPAddress(ipaddress.ip_address("192.0.2.1"))]
    )
    leaf = _certificate(subject, name, key.public_key(), ca_key, names)
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (folder / "leaf.pem").write_bytes(
        leaf.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem")
    return folder / "ca.pem", context


def _certificate(subject, issuer, public_key, signing_key, extension):
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
    builder = builder.serial_number(x509.random_serial_number()).add_extension(extension, critical=False)
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    return builder.not_valid_after(now + datetime.timedelta(days=1)).sign(signing_key, hashes.SHA256())


def _tls_client(server, ca_file):
    def connect(ip, port, timeout_s):
        return socket.create_connection(("127.0.0.1", server.port), timeout_s)

    return GuardedClient(FetchSettings(**QUICK), resolve=lambda host, port: [PUBLIC], connect=connect, ca_file=ca_file)


def test_https_checks_the_certificate_for_the_name_not_the_ip(authority):
    ca_file, context = authority
    with ImageServer(tls=context) as server:
        client = _tls_client(server, ca_file)
        assert client.get("https://shop.example/good.jpg").body == pictures.jpeg()
        assert client.get("https://shop.example/good.jpg").body == pictures.jpeg()
        assert server.connections == 1
        with pytest.raises(errors.FetchRefused, match="certificate"):
            client.get("https://other.example/good.jpg")
        client.close()


def test_https_with_an_unknown_authority_is_refused(authority):
    with ImageServer(tls=authority[1]) as server:
        client = _tls_client(server, None)
        with pytest.raises(errors.FetchRefused, match="certificate"):
            client.get("https://shop.example/good.jpg")
        client.close()


def test_https_to_a_plain_server_fails(server, authority):
    client = _tls_client(server, authority[0])
    with pytest.raises(errors.FetchFailed):
        client.get("https://shop.example/good.jpg")
    client.close()

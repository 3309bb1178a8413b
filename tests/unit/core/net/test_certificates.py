"""Each fault of a certificate is named, with what helps against it."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core import errors
from core.net.http import GuardedClient
from core.settings import FetchSettings
from tests import pictures
from tests.image_server import ImageServer

PUBLIC = "93.184.216.34"
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """A certificate with its key; an authority if `is_authority`."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def issue(
    name: str, issuer: Issued | None = None, *, is_authority: bool = False, starts: dt.timedelta = -DAY, days: int = 2
) -> Issued:
    """Issues a certificate that is valid for `days` from `starts`, relative to now; self-signed without an issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = dt.datetime.now(dt.UTC) + starts
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + days * DAY)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    return Issued(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


AUTHORITY = issue("authority", is_authority=True)
MIDDLE = issue("middle", AUTHORITY, is_authority=True)
STRANGER = issue("stranger", is_authority=True)

CASES = {
    "good": ((issue("shop.example", AUTHORITY),), ""),
    "whole-chain": ((issue("shop.example", MIDDLE), MIDDLE), ""),
    "expired": ((issue("shop.example", AUTHORITY, starts=-9 * DAY),), "has expired"),
    "not-yet": ((issue("shop.example", AUTHORITY, starts=DAY),), "not valid yet"),
    "other-host": ((issue("other.example", AUTHORITY),), "another host name"),
    "self-signed": ((issue("shop.example"),), "self-signed.*SSL_CERT_FILE"),
    "unknown-authority": ((issue("shop.example", STRANGER),), "unknown authority.*SSL_CERT_FILE"),
    "unknown-authority-sent": ((issue("shop.example", STRANGER), STRANGER), "unknown authority.*SSL_CERT_FILE"),
    "no-intermediate": ((issue("shop.example", MIDDLE),), "intermediate"),
}


@pytest.fixture
def fetch(tmp_path):
    """Fetches a picture from a server with these certificates; only AUTHORITY is trusted."""
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.certificate.public_bytes(serialization.Encoding.PEM))

    def get(chain: tuple[Issued, ...]) -> bytes:
        with ImageServer(tls=_context(chain, tmp_path)) as server:

            def connect(ip, port, timeout_s):
                return socket.create_connection(("127.0.0.1", server.port), timeout_s)

            client = GuardedClient(
                FetchSettings(), resolve=lambda host, port: [PUBLIC], connect=connect, ca_file=tmp_path / "ca.pem"
            )
            try:
                return client.get("https://shop.example/good.jpg").body
            finally:
                client.close()

    return get


def _context(chain: tuple[Issued, ...], folder: Path) -> ssl.SSLContext:
    key = chain[0].key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem = b"".join(each.certificate.public_bytes(serialization.Encoding.PEM) for each in chain)
    (folder / "chain.pem").write_bytes(key + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "chain.pem")
    return context


@pytest.mark.parametrize("name", [name for name, (_, says) in CASES.items() if not says])
def test_good_certificates_are_accepted(fetch, name):
    assert fetch(CASES[name][0]) == pictures.jpeg()


@pytest.mark.parametrize("name", [name for name, (_, says) in CASES.items() if says])
def test_the_fault_of_a_certificate_is_named(fetch, name):
    chain, says = CASES[name]
    with pytest.raises(errors.FetchRefused, match=f"certificate.*{says}") as caught:
        fetch(chain)
    assert not caught.value.retryable
    assert "127.0.0.1" not in caught.value.message

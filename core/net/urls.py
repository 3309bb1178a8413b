"""Strict parsing of image addresses into one normal form, which all later steps use.

Two parsers that read the same URL differently can bypass an SSRF guard. Host names are therefore converted to
lower-case ASCII, and every notation of an IPv4 address (decimal, octal, hex, short) to dotted form. Ambiguous input
(backslashes, control characters, user names, zone ids) is rejected. core/net/ssrf_guard.py decides whether an address
may be requested.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Self
from urllib.parse import SplitResult, quote, urlsplit

from core.errors import InvalidAddress

MAX_LENGTH = 2048
UPLOAD_SCHEME = "upload"
DEFAULT_PORTS = {"http": 80, "https": 443}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\\]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_UPLOAD_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
# Characters that RFC 3986 allows in a path and a query. All others get percent-encoded; existing escapes are kept.
_PATH_SAFE = "/%:@!$&'()*+,;=~-._"
_QUERY_SAFE = _PATH_SAFE + "?"


@dataclass(frozen=True)
class Address:
    """The address of an image. `str(address)` is its normal form.

    host: ASCII name, dotted IPv4 or bare IPv6 (http, https); the bucket (s3); empty (upload).
    port: 1..65535 (http, https), else 0.
    path: percent-encoded and starting with `/` (http, https); the literal key (s3, upload).
    query: without the `?`. It may contain secrets, so it is sent but never shown; see `redact_url`.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parses an `http`, `https`, `s3` or `upload` address of at most 2048 characters.

        Raises InvalidAddress; its message names the remedy.
        """
        if not text or len(text) > MAX_LENGTH:
            raise InvalidAddress(f"An address must have 1 to {MAX_LENGTH} characters; this one has {len(text)}.")
        if not text.isprintable() and re.search(r"[\ud800-\udfff]", text):
            raise InvalidAddress("The address contains a lone surrogate: encode it as valid UTF-8.")
        scheme = _SCHEME.match(text)
        if scheme is None:
            raise InvalidAddress("The address has no scheme: use a full URL, such as https://shop.example/shirt.jpg.")
        match scheme[1].lower():
            case "http" | "https":
                return cls._parse_web(text)
            case "s3":
                return cls._parse_s3(text)
            case "upload":
                return cls._parse_upload(text)
        raise InvalidAddress("Only http, https and s3 addresses can be fetched: upload other files directly.")

    @classmethod
    def _parse_web(cls, text: str) -> Self:
        if _FORBIDDEN.search(text):
            raise InvalidAddress("The address contains a space, a backslash or a control character: percent-encode it.")
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise InvalidAddress("The address cannot be parsed: check its brackets and its port number.") from None
        if parts.netloc.rpartition("@")[1]:
            raise InvalidAddress("The address contains a user name or password: use a presigned URL instead.")
        if port == 0:
            raise InvalidAddress("Port 0 is not allowed: omit the port or use another one.")
        path = quote(parts.path or "/", safe=_PATH_SAFE)
        query = quote(parts.query, safe=_QUERY_SAFE)
        return cls(parts.scheme, _host(parts), port or DEFAULT_PORTS[parts.scheme], path, query)

    @classmethod
    def _parse_s3(cls, text: str) -> Self:
        # Everything after the bucket is the literal key: S3 keys may contain `?`, `#`, `%` and `..`.
        bucket, _, key = text[len("s3:") :].removeprefix("//").partition("/")
        if text[3:5] != "//" or not _BUCKET.fullmatch(bucket):
            raise InvalidAddress("The bucket name is not valid: write an S3 address as s3://bucket/key.")
        if not key or _CONTROL.search(key) or len(key.encode()) > 1024:
            raise InvalidAddress("The key of an S3 address must have 1 to 1024 bytes and no control characters.")
        return cls("s3", bucket, 0, key)

    @classmethod
    def _parse_upload(cls, text: str) -> Self:
        key = text[len("upload:") :].removeprefix("//")
        if text[7:9] != "//" or not _UPLOAD_KEY.fullmatch(key) or ".." in key:
            raise InvalidAddress("Upload addresses are created by the service: send the file in the field `file`.")
        return cls(UPLOAD_SCHEME, "", 0, key)

    @property
    def target(self) -> str:
        """Path and query, in the form of an HTTP request target."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS.get(self.scheme, 0) else f"{host}:{self.port}"

    def __str__(self) -> str:
        if self.scheme in DEFAULT_PORTS:
            return f"{self.scheme}://{self.netloc}{self.target}"
        return f"{self.scheme}://{self.host}/{self.path}" if self.host else f"{self.scheme}://{self.path}"


def redact_url(address: Address | str) -> str:
    """Returns the address without query string, fragment and user name, for logs, responses and webhooks.

    Accepts any text, because invalid addresses are logged, too.
    """
    shown = re.split(r"[?#]", str(address), maxsplit=1)[0]
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*:)?//[^/\\]*@", r"\1//", shown)


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if "[" in parts.netloc:
        return _ipv6(host if re.fullmatch(r"\[[^]]*\](:[0-9]*)?", parts.netloc) else "")
    try:
        # Python's codec maps look-alike characters (full-width digits, ideographic dots) as resolvers do.
        ascii_host = host.encode("idna").decode("ascii").lower() if host else ""
    except UnicodeError:
        ascii_host = ""
    name = ascii_host.removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4(name)
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidAddress("The address has no valid host name: check its spelling.")
    return ascii_host


def _ipv4(text: str) -> str:
    try:
        return socket.inet_ntoa(socket.inet_aton(text))
    except OSError:
        raise InvalidAddress(
            "The host ends in a number but is not a valid IPv4 address: write it as 192.0.2.1."
        ) from None


def _ipv6(text: str) -> str:
    try:
        # IPvFuture and zone ids (`%eth0`) fail here, too.
        return str(ipaddress.IPv6Address("" if "%" in text else text))
    except ValueError:
        raise InvalidAddress("The host in brackets is not a valid IPv6 address: write it as [2001:db8::1].") from None

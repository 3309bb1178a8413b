"""Strict parsing of image addresses into one normal form, which all later steps use.

Two parsers that read the same URL differently can bypass an SSRF guard. Host names are therefore converted to
lower-case ASCII as browsers do (core/net/hosts.py), and every notation of an IPv4 address (decimal, octal, hex, short)
to dotted form. Blanks around an address are cut, and blanks in its path and query are encoded. Ambiguous input
(backslashes, control characters, user names, zone ids) is rejected: browsers drop tabs and line ends inside an address,
but they are refused here, because what is left names a host or a file that nobody wrote. core/net/ssrf_guard.py decides
whether an address may be requested.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import SplitResult, quote, urlsplit

from core.errors import InvalidAddress
from core.net.hosts import parse_host
from core.net.url_hints import Hint, hint, repeats_scheme

MAX_LENGTH = 2048
UPLOAD_SCHEME = "upload"
DEFAULT_PORTS = {"http": 80, "https": 443}

# White space, and the invisible characters that spreadsheets, mails and text files put around an address: byte order
# mark, zero-width space, word joiner, and marks of the text direction.
_BLANKS = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff\u200b\u2060\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_HAS_HOST = re.compile(r"[A-Za-z]+://[^/\\?#]")
_AUTHORITY = re.compile(r"(\[[^][]*\]|[^][:]*)(?::([0-9]{0,20}))?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_UPLOAD_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
# Characters that RFC 3986 allows in a path and a query. All others get percent-encoded; existing escapes are kept.
_PATH_SAFE = "/%:@!$&'()*+,;=~-._"
_QUERY_SAFE = _PATH_SAFE + "?"


def cut_blanks(text: str) -> str:
    """Returns the text without white space and invisible characters around it."""
    return text.strip(_BLANKS)


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
        """Parses an `http`, `https`, `s3` or `upload` address, of at most 2048 characters in its normal form.

        Raises InvalidAddress; its message names the remedy, and the address that was probably meant.
        """
        text = cut_blanks(text)
        scheme = _SCHEME.match(text)
        parsers = {
            "http": cls._parse_web,
            "https": cls._parse_web,
            "s3": cls._parse_s3,
            UPLOAD_SCHEME: cls._parse_upload,
        }
        parse = parsers.get(scheme[1].lower()) if scheme else None
        if text and parse is None:
            raise _refusal(hint(text[:MAX_LENGTH]))
        if parse is None or len(text) > MAX_LENGTH:
            raise _wrong_length(text)
        if not text.isprintable() and re.search(r"[\ud800-\udfff]", text):
            raise InvalidAddress("The address contains a lone surrogate: encode it as valid UTF-8.")
        address = parse(text)
        if len(str(address)) > MAX_LENGTH:
            raise _wrong_length(str(address))
        return address

    @classmethod
    def _parse_web(cls, text: str) -> Self:
        if _CONTROL.search(text):
            raise InvalidAddress("The address contains a tab, a line end or a control character: remove it.")
        if not _HAS_HOST.match(text) or repeats_scheme(text):
            raise _refusal(hint(text))
        if "\\" in text:
            raise InvalidAddress("The address contains a backslash: write / or, within a file's name, %5C.")
        try:
            parts = urlsplit(text)
        except ValueError:
            raise InvalidAddress("The address cannot be parsed: check its host name and its brackets.") from None
        if "@" in parts.netloc:
            raise InvalidAddress("The address contains a user name or password: use a presigned URL instead.")
        host, port = _authority(parts)
        path = quote(parts.path or "/", safe=_PATH_SAFE)
        query = quote(parts.query, safe=_QUERY_SAFE)
        return cls(parts.scheme, host, port, path, query)

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
    shown = re.split(r"[?#]", cut_blanks(str(address)), maxsplit=1)[0]
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*:)?//[^/\\]*@", r"\1//", shown)


def _authority(parts: SplitResult) -> tuple[str, int]:
    """Returns the host in its normal form, and the port."""
    # `parts.hostname` is not used: Python's lower case differs from that of UTS 46 (final sigma).
    found = _AUTHORITY.fullmatch(parts.netloc)
    port = int(found[2] or DEFAULT_PORTS[parts.scheme]) if found else -1
    if found is None or port > 65535:
        raise InvalidAddress("The address cannot be parsed: check its brackets and its port number.")
    if port == 0:
        raise InvalidAddress("Port 0 is not allowed: omit the port or use another one.")
    return parse_host(found[1]), port


def _wrong_length(text: str) -> InvalidAddress:
    return InvalidAddress(
        f"An address must have at least 1 and at most {MAX_LENGTH} characters; this one has {len(text)}."
    )


def _refusal(reason: Hint) -> InvalidAddress:
    """Returns the error for a hint. It shows the address that was meant if that is valid, never its query."""
    try:
        meant = Address.parse(reason.candidate)
    except InvalidAddress:
        return InvalidAddress(f"{reason.problem}: {reason.remedy}.")
    shown = redact_url(meant) + ("?…" if meant.query else "")
    return InvalidAddress(f"{reason.problem}: write {shown} instead.")

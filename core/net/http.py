"""An HTTP client for URLs that callers choose: guarded against SSRF, with limits on time and size.

It uses urllib3's connections but not its pools, because the guard works at connect time: the connection goes to an
approved IP address (core/net/ssrf_guard.py), while the Host header, SNI and certificate check use the host name. The
client follows redirects itself and approves each target. It ignores proxy variables of the environment, because a
proxy would resolve names without the guard.
"""

from __future__ import annotations

import http.client
import logging
import ssl
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urljoin

from urllib3 import HTTPHeaderDict, HTTPResponse
from urllib3 import exceptions as urllib3_errors

from core.errors import (
    AccessDenied,
    FetchBlocked,
    FetchFailed,
    FetchRefused,
    FetchTimeout,
    ImageTooLarge,
    InvalidAddress,
    NotFound,
)
from core.net.connections import (
    Connect,
    Connection,
    ConnectionPool,
    Deadline,
    connect_to,
)
from core.net.ssrf_guard import Guard, Resolver, resolve_host
from core.net.urls import DEFAULT_PORTS, Address
from core.settings import FetchSettings

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRY_LATER = frozenset({408, 425, 429})
_CHUNK_BYTES = 64 * 1024
_EXCERPT_BYTES = 4 * 1024  # of an unsuccessful response: enough to show, and to reuse the connection


@dataclass(frozen=True)
class Response:
    """An HTTP response of any status. `body` is complete for 2xx statuses, else an excerpt of at most 4 KiB."""

    status: int
    headers: HTTPHeaderDict
    body: bytes
    url: str

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True)
class Fetched:
    """A fetched file. `content_type` is the server's claim, and `url` the final URL after redirects."""

    body: bytes
    content_type: str | None
    url: str


class GuardedClient:
    """Requests untrusted URLs. Thread-safe. Keeps idle connections until `close`.

    ca_file: certificate authorities to trust instead of the system's.
    resolve, connect: functions that resolve names and open sockets; tests replace them.
    """

    def __init__(
        self,
        settings: FetchSettings,
        *,
        resolve: Resolver = resolve_host,
        connect: Connect = connect_to,
        ca_file: Path | None = None,
    ) -> None:
        self._settings = settings
        self._guard = Guard(settings, resolve)
        tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        self._connections = ConnectionPool(connect, tls, settings.connect_timeout_s, settings.max_idle_connections)
        # urllib3 logs the URL with its query string if the headers of a response are malformed.
        logging.getLogger("urllib3.connection").addFilter(_reveals_no_url)

    def close(self) -> None:
        self._connections.close()

    def get(self, url: str) -> Fetched:
        """Fetches a file and follows redirects.

        Raises FetchBlocked, FetchTimeout, NotFound (404, 410), AccessDenied (401, 403, 451), ImageTooLarge, FetchFailed
        (retryable: 408, 425, 429, 5xx, broken connections) or FetchRefused (terminal: everything else).
        """
        response = self.request("GET", url, follow_redirects=True)
        if not response.is_success:
            raise _status_error(response.status)
        return Fetched(response.body, response.headers.get("Content-Type"), response.url)

    def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        follow_redirects: bool = False,
        excerpt_only: bool = False,
    ) -> Response:
        """Sends one request and returns the response, whatever its status.

        follow_redirects: only for requests without a body.
        excerpt_only: reads at most 4 KiB of any response.

        Raises FetchBlocked, FetchTimeout, FetchFailed, FetchRefused, ImageTooLarge.
        """
        deadline = Deadline(self._settings.total_timeout_s, self._settings.read_timeout_s)
        address = _web_address(url)
        seen: set[str] = set()
        while True:
            seen.add(str(address))
            response = self._exchange(method, address, body, headers or {}, deadline, excerpt_only)
            if not follow_redirects or response.status not in _REDIRECTS:
                return response
            address = _next_address(address, response)
            if str(address) in seen:
                raise FetchRefused("The redirects form a loop.")
            if len(seen) > self._settings.max_redirects:
                raise FetchRefused(
                    f"The address redirects more than {self._settings.max_redirects} times: use its final URL."
                )

    def _exchange(
        self,
        method: str,
        address: Address,
        body: bytes | None,
        headers: Mapping[str, str],
        deadline: Deadline,
        excerpt_only: bool,
    ) -> Response:
        target = self._guard.approve(address)
        with _failures_as_fetch_errors():
            connection = self._connections.take(target, deadline)
            is_reusable = False
            try:
                sent = {"User-Agent": self._settings.user_agent, "Accept-Encoding": "identity", **headers}
                connection.request(method, address.target, body, sent, preload_content=False, decode_content=False)
                with closing(connection.getresponse()) as answer:
                    content = self._read(answer, excerpt_only)
                    is_reusable = _is_reusable(connection, answer)
            finally:
                self._connections.release(connection, is_reusable=is_reusable)
        return Response(answer.status, answer.headers, content, str(address))

    def _read(self, answer: HTTPResponse, excerpt_only: bool) -> bytes:
        if excerpt_only or not 200 <= answer.status < 300:
            return b"".join(_chunks(answer, _EXCERPT_BYTES))[:_EXCERPT_BYTES]
        limit = self._settings.max_bytes
        if (answer.length_remaining or 0) > limit:
            raise _too_large(limit)
        content = b"".join(_chunks(answer, limit))
        if len(content) > limit:
            raise _too_large(limit)
        return _decompressed(content, answer.headers.get("Content-Encoding", ""), limit)


def _chunks(answer: HTTPResponse, limit: int) -> Iterator[bytes]:
    """Yields the body in chunks and stops once more than `limit` bytes have arrived."""
    taken = 0
    while taken <= limit and (chunk := answer.read1(_CHUNK_BYTES)):
        taken += len(chunk)
        yield chunk


def _decompressed(content: bytes, encoding: str, limit: int) -> bytes:
    """Decompresses up to `limit` bytes: some stores compress although the request asks for `identity`."""
    match encoding.strip().lower():
        case "" | "identity":
            return content
        case "gzip" | "x-gzip" | "deflate":
            return _inflated(content, limit)
    raise FetchRefused("The server uses a content encoding that is not supported: serve the file uncompressed.")


def _inflated(content: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # 32: detects gzip or zlib by the header
    try:
        plain = inflater.decompress(content, limit + 1)
    except zlib.error:
        raise FetchFailed("The compressed file (Content-Encoding) is corrupt.") from None
    if len(plain) > limit:
        raise _too_large(limit)
    if not inflater.eof:
        raise FetchFailed("The compressed file (Content-Encoding) is truncated.")
    return plain


def _is_reusable(connection: Connection, answer: HTTPResponse) -> bool:
    """Whether the response was read completely and the server keeps the connection open."""
    return answer.closed and connection.sock is not None


def _web_address(url: str) -> Address:
    try:
        address = Address.parse(url)
    except InvalidAddress as error:
        raise FetchBlocked(error.message) from None
    if address.scheme not in DEFAULT_PORTS:
        raise FetchBlocked(f"Addresses with the scheme {address.scheme} cannot be requested over HTTP.")
    return address


def _next_address(address: Address, response: Response) -> Address:
    location = response.headers.get("Location")
    if not location:
        raise FetchRefused(f"The server answered with status {response.status} but names no new address.")
    # http.client reads headers as Latin-1; bytes beyond ASCII are UTF-8 in practice.
    plain = quote(location.encode("latin-1", "replace"), safe="/?#[]%:@!$&'()*+,;=~-._\\ ").replace(" ", "%20")
    try:
        return _web_address(urljoin(str(address), plain))
    except ValueError:
        raise FetchBlocked("The address redirects to an invalid URL.") from None


def _status_error(status: int) -> FetchFailed | NotFound | AccessDenied:
    if status in (404, 410):
        return NotFound(f"There is nothing at this address (status {status}).")
    if status in (401, 403, 451):
        return AccessDenied(f"The server denies access (status {status}): use a public or presigned URL.")
    if status in _TRY_LATER or status >= 500:
        return FetchFailed(f"The server cannot serve the file at the moment (status {status}).")
    return FetchRefused(f"The server refuses to serve the file (status {status}).")


def _too_large(limit: int) -> ImageTooLarge:
    return ImageTooLarge(f"The file is larger than {limit} bytes: send a smaller version of the image.")


@contextmanager
def _failures_as_fetch_errors() -> Iterator[None]:
    """Converts errors of sockets, TLS, http.client and urllib3 to ours, without their texts, which reveal hosts."""
    try:
        yield
    except (TimeoutError, urllib3_errors.TimeoutError):
        raise FetchTimeout("The server did not deliver the file in time.") from None
    except (ssl.SSLCertVerificationError, urllib3_errors.SSLError) as error:
        if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY" in str(error):
            raise FetchRefused("The server's certificate is not valid for this address.") from None
        raise FetchFailed("The secure connection to the server failed.") from None
    except (urllib3_errors.IncompleteRead, http.client.IncompleteRead):
        raise FetchFailed("The connection closed before the whole file was received.") from None
    except (OSError, http.client.HTTPException, urllib3_errors.HTTPError, ValueError):
        raise FetchFailed("The connection to the server failed.") from None


def _reveals_no_url(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Failed to parse headers")

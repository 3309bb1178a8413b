"""HTTP to places that callers name: guarded, bounded in time and bytes, one connection at a time under our control.

Built on urllib3's connections, not on its pools, because the guard has to hold at connect time: a connection goes to
an approved IP address (core/net/ssrf_guard.py), while Host header, SNI and certificate check keep the host's name.
Redirects are followed by hand and approved again. Proxy variables of the environment are not read: a proxy would
resolve names by itself, past the guard.
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
    Connections,
    Deadline,
    connect_to,
)
from core.net.ssrf_guard import Guard, Resolver, resolve_host
from core.net.urls import DEFAULT_PORTS, Address
from core.settings import FetchSettings

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRY_LATER = frozenset({408, 425, 429})
_CHUNK_BYTES = 64 * 1024
_EXCERPT_BYTES = 4 * 1024  # of an answer that is not a success: enough to show, and to reuse the connection


@dataclass(frozen=True)
class Response:
    """An HTTP answer of any status. But for a success, `body` is an excerpt of at most 4 KiB."""

    status: int
    headers: HTTPHeaderDict
    body: bytes
    url: str

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True)
class Fetched:
    """A fetched file: its bytes, the content type that the other side claims, the address that answered at last."""

    body: bytes
    content_type: str | None
    url: str


class GuardedClient:
    """Asks addresses that strangers chose. Thread-safe; keeps idle connections; `close` it at the end.

    ca_file: certificate authorities to trust instead of the system's.
    resolve, connect: how names are looked up and sockets opened; tests put their own in.
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
        self._connections = Connections(connect, tls, settings.connect_timeout_s, settings.max_idle_connections)
        # urllib3 logs the whole address, query string and all, when an answer's headers are malformed.
        logging.getLogger("urllib3.connection").addFilter(_tells_no_address)

    def close(self) -> None:
        self._connections.close()

    def get(self, url: str) -> Fetched:
        """Fetch a file, following redirects.

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
        """Send one request, with all limits but no view on the answer's status.

        Only requests without a body follow redirects. With `excerpt_only` no more than 4 KiB of any answer are read,
        however much comes. Raises FetchBlocked, FetchTimeout, FetchFailed, FetchRefused,
        ImageTooLarge.
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
                raise FetchRefused("The address redirects in a circle.")
            if len(seen) > self._settings.max_redirects:
                raise FetchRefused(f"The address redirects more than {self._settings.max_redirects} times.")

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
                self._connections.give_back(connection, is_reusable=is_reusable)
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
    """What arrives, piece by piece, until the end or until it is more than `limit` bytes."""
    taken = 0
    while taken <= limit and (chunk := answer.read1(_CHUNK_BYTES)):
        taken += len(chunk)
        yield chunk


def _decompressed(content: bytes, encoding: str, limit: int) -> bytes:
    """Undo the compression that some stores apply although we ask for none, never past `limit` bytes."""
    match encoding.strip().lower():
        case "" | "identity":
            return content
        case "gzip" | "x-gzip" | "deflate":
            return _inflated(content, limit)
    raise FetchRefused("The server sends the file in a content encoding that was not asked for: serve it plainly.")


def _inflated(content: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # 32: gzip or zlib, told by the header
    try:
        plain = inflater.decompress(content, limit + 1)
    except zlib.error:
        raise FetchFailed("The file's compression (Content-Encoding) is broken.") from None
    if len(plain) > limit:
        raise _too_large(limit)
    if not inflater.eof:
        raise FetchFailed("The file's compression (Content-Encoding) ends too early.")
    return plain


def _is_reusable(connection: Connection, answer: HTTPResponse) -> bool:
    """Whether the answer was read to its end and the other side keeps the connection open."""
    return answer.closed and connection.sock is not None


def _web_address(url: str) -> Address:
    try:
        address = Address.parse(url)
    except InvalidAddress as error:
        raise FetchBlocked(error.message) from None
    if address.scheme not in DEFAULT_PORTS:
        raise FetchBlocked(f"Addresses with the scheme {address.scheme} are not asked over HTTP.")
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
        raise FetchBlocked("The address redirects to one that cannot be read.") from None


def _status_error(status: int) -> FetchFailed | NotFound | AccessDenied:
    if status in (404, 410):
        return NotFound(f"There is nothing at this address (status {status}).")
    if status in (401, 403, 451):
        return AccessDenied(f"The server denies access (status {status}): use a public or presigned address.")
    if status in _TRY_LATER or status >= 500:
        return FetchFailed(f"The server could not serve the file now (status {status}).")
    return FetchRefused(f"The server refuses to serve the file (status {status}).")


def _too_large(limit: int) -> ImageTooLarge:
    return ImageTooLarge(f"The file is larger than {limit} bytes: send a smaller version of the picture.")


@contextmanager
def _failures_as_fetch_errors() -> Iterator[None]:
    """Turn what sockets, TLS, http.client and urllib3 raise into our errors, without their texts: those name hosts."""
    try:
        yield
    except (TimeoutError, urllib3_errors.TimeoutError):
        raise FetchTimeout("The server did not deliver the file in time.") from None
    except (ssl.SSLCertVerificationError, urllib3_errors.SSLError) as error:
        if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY" in str(error):
            raise FetchRefused("The server's certificate is not valid for this address.") from None
        raise FetchFailed("The secure connection to the server failed.") from None
    except (urllib3_errors.IncompleteRead, http.client.IncompleteRead):
        raise FetchFailed("The connection ended before the whole file had arrived.") from None
    except (OSError, http.client.HTTPException, urllib3_errors.HTTPError, ValueError):
        raise FetchFailed("The connection to the server failed or broke.") from None


def _tells_no_address(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Failed to parse headers")

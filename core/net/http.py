"""An HTTP client for URLs that callers choose: guarded against SSRF, with limits on time and size.

It uses urllib3's connections but not its pools, because the guard works at connect time: the connection goes to an
approved IP address (core/net/ssrf_guard.py), while the Host header, SNI and certificate check use the host name. The
client follows redirects itself and approves each target. It ignores proxy variables of the environment, because a
proxy would resolve names without the guard.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

from urllib3 import HTTPHeaderDict, HTTPResponse
from urllib3.exceptions import HTTPError, InvalidHeader
from urllib3.util.retry import Retry

from core.errors import (
    FetchBlocked,
    FetchFailed,
    FetchRefused,
    InvalidAddress,
)
from core.net.connections import (
    Connect,
    Connection,
    ConnectionPool,
    Deadline,
    connect_to,
)
from core.net.cookies import RedirectCookies
from core.net.failures import failures_as_fetch_errors, not_there_yet, status_error
from core.net.response_body import read_body, read_excerpt
from core.net.ssrf_guard import Guard, Resolver, resolve_host
from core.net.urls import DEFAULT_PORTS, Address
from core.settings import FetchSettings

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_IMAGE_HEADERS = {"Accept": "image/*,*/*;q=0.8"}  # firewalls refuse requests without it
_CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
_URL_SAFE = "/?#[]%:@!$&'()*+,;=~-._\\"


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

    @property
    def new_location(self) -> str | None:
        """Where the response redirects to; None unless it is a redirect."""
        locations = self.headers.getlist("Location") if self.status in _REDIRECTS else []
        return locations[0] or None if locations else None

    @property
    def retry_after_s(self) -> float | None:
        """The wait that `Retry-After` asks for, in seconds from now, at least 0; None without a valid one."""
        values = self.headers.getlist("Retry-After")
        try:
            return max(float(Retry().parse_retry_after(values[0])), 0.0) if values else None
        except (InvalidHeader, HTTPError, ValueError, OverflowError):
            return None


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

    def close(self) -> None:
        self._connections.close()

    def get(self, url: str) -> Fetched:
        """Fetches a file and follows redirects, with cookies that last for this chain.

        Raises FetchBlocked, FetchTimeout, NotFound (404, 410), AccessDenied (401, 403, 451), ImageTooLarge, FetchFailed
        (retryable: 202, 204, 408, 425, 429, 5xx, an empty body, broken connections) or FetchRefused (terminal:
        everything else).
        """
        response = self.request("GET", url, headers=_IMAGE_HEADERS, follow_redirects=True)
        error = status_error(response.status, response.retry_after_s)
        if error is not None:
            raise error
        if not response.body:
            raise not_there_yet(f"status {response.status}, empty body", response.retry_after_s)
        if _is_part(response):
            raise FetchFailed("The server sent only a part of the file, without being asked (status 206).")
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

        follow_redirects: only for requests without a body; cookies are kept from one redirect to the next.
        excerpt_only: reads at most 4 KiB of any response.

        Raises FetchBlocked, FetchTimeout, FetchFailed, FetchRefused, ImageTooLarge.
        """
        deadline = Deadline(self._settings.total_timeout_s, self._settings.read_timeout_s)
        address, cookies, redirected_by = _web_address(url), RedirectCookies(), 0
        seen: set[tuple[str, str | None]] = set()
        while True:
            cookie = cookies.header(address)
            seen.add((str(address), cookie))
            sent = {**(headers or {}), **({"Cookie": cookie} if cookie else {})}
            with _blocks_named(redirected_by):
                response = self._exchange(method, address, body, sent, deadline, excerpt_only)
            if not follow_redirects or response.new_location is None:
                return response
            cookies.store(address, response.headers)
            redirected_by = response.status
            with _blocks_named(redirected_by):
                address = _next_address(address, response)
            if (str(address), cookies.header(address)) in seen:
                raise FetchRefused(f"The redirects form a loop (status {response.status}): use the image's own URL.")
            if len(seen) > self._settings.max_redirects:
                raise FetchRefused(
                    f"The address redirects more than {self._settings.max_redirects} times (status {response.status}, "
                    "ENRICH_FETCH__MAX_REDIRECTS): use its final URL."
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
        sent = {"User-Agent": self._settings.user_agent, "Accept-Encoding": "identity", **headers}
        with failures_as_fetch_errors():
            connection = self._connections.take(target, deadline)
            is_new = connection.sock is None
            try:
                return self._send(connection, method, address, body, sent, excerpt_only)
            except _CLOSED:
                if is_new or method != "GET":
                    raise
            # The server closed the idle connection just as it was used again.
            connection = self._connections.open(target, deadline)
            return self._send(connection, method, address, body, sent, excerpt_only)

    def _send(
        self,
        connection: Connection,
        method: str,
        address: Address,
        body: bytes | None,
        headers: Mapping[str, str],
        excerpt_only: bool,
    ) -> Response:
        is_reusable = False
        try:
            connection.request(method, address.target, body, headers, preload_content=False, decode_content=False)
            with closing(connection.getresponse()) as answer:
                content = self._read(connection, answer, excerpt_only)
                is_reusable = _is_reusable(connection, answer)
        finally:
            self._connections.release(connection, is_reusable=is_reusable)
        return Response(answer.status, answer.headers, content, str(address))

    def _read(self, connection: Connection, answer: HTTPResponse, excerpt_only: bool) -> bytes:
        if not excerpt_only and 200 <= answer.status < 300:
            return read_body(answer, self._settings.max_bytes)
        try:
            return read_excerpt(answer)
        except (HTTPError, HTTPException, OSError):
            if excerpt_only:
                raise
            connection.close()  # status and headers say enough, even if the body never arrives
            return b""


def _is_part(response: Response) -> bool:
    """Whether `Content-Range` says that bytes before or behind the body are missing."""
    given = re.fullmatch(r"\s*bytes\s+(\d+)-(\d+)/(\d+|\*)\s*", response.headers.get("Content-Range", ""))
    if response.status != 206 or given is None:
        return False
    first, last, size = given.groups()
    return int(first) > 0 or (size != "*" and int(last) + 1 < int(size))


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


def _with_slashes(location: str) -> str:
    """Reads backslashes in a path as slashes, as browsers do. Beside a host they stay, and are refused as ambiguous."""
    if re.match(r"[a-z][a-z0-9+.-]*:|[/\\]{2}", location, re.IGNORECASE):
        return location
    path, mark, rest = re.split(r"([?#]|$)", location, maxsplit=1)
    return path.replace("\\", "/") + mark + rest


@contextmanager
def _blocks_named(redirected_by: int) -> Iterator[None]:
    """Adds to a blocked address that a redirect led there. redirected_by: its status; 0 for the first request."""
    try:
        yield
    except FetchBlocked as error:
        if not redirected_by:
            raise
        raise FetchBlocked(
            f"The address redirects to a blocked one (status {redirected_by}). {error.message}"
        ) from None


def _next_address(address: Address, response: Response) -> Address:
    if len(set(response.headers.getlist("Location"))) > 1:
        raise FetchRefused(f"The server redirects to several addresses at once (status {response.status}).")
    # http.client reads headers as Latin-1; bytes beyond ASCII are UTF-8 in practice.
    location = (response.new_location or "").encode("latin-1", "replace")
    try:
        text = location.decode()
    except UnicodeDecodeError:
        text = quote(location, safe=_URL_SAFE)
    try:
        parts = urlsplit(urljoin(str(address), _with_slashes(text.strip())))
        path, query = quote(parts.path, safe=_URL_SAFE), quote(parts.query, safe=_URL_SAFE)
        return _web_address(parts._replace(path=path, query=query, fragment="").geturl())
    except ValueError:
        raise FetchBlocked("Its new address (Location) is not a valid URL.") from None

"""Converts failures of a fetch to job errors: broken connections, TLS, and statuses other than success.

Messages name the remedy: what the caller can change, or the setting of the operator. They never contain the texts of
sockets and libraries, which reveal hosts.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from urllib3 import exceptions as urllib3_errors

from core.errors import AccessDenied, FetchFailed, FetchRefused, FetchTimeout, JobError, NotFound
from core.net.response_head import MAX_HEAD_BYTES, ContradictoryLengths, HeadTooLong

_NOT_YET = frozenset({202, 204, 205})
_TRY_LATER = frozenset({408, 425, 429})

_INCOMPLETE = "The connection closed before the whole file was received."
_CHAIN = (
    "is signed by an unknown authority, or the server omits its intermediate certificate: "
    "serve the whole chain of a public authority, or let the operator trust this one (SSL_CERT_FILE)"
)
_CERTIFICATE_PROBLEMS = {  # OpenSSL's X509_V_ERR_…
    9: "is not valid yet: check the server's clock and its certificate",
    10: "has expired: renew it",
    18: "is self-signed: use one of a public authority, or let the operator trust this one (SSL_CERT_FILE)",
    19: _CHAIN,
    20: _CHAIN,
    21: _CHAIN,
    23: "was revoked: replace it",
    62: "is for another host name: use the name that it was issued for",
    64: "is not for this IP address: use the host name that it was issued for",
}


@contextmanager
def failures_as_fetch_errors() -> Iterator[None]:
    """Converts errors of sockets, TLS, http.client and urllib3 to ours."""
    try:
        yield
    except (TimeoutError, urllib3_errors.TimeoutError):
        raise FetchTimeout(
            "The server did not deliver the file in time: serve it faster, or let the operator raise "
            "ENRICH_FETCH__TOTAL_TIMEOUT_S and ENRICH_FETCH__READ_TIMEOUT_S."
        ) from None
    except (ssl.SSLError, urllib3_errors.SSLError) as error:
        raise _tls_error(error) from None
    except HeadTooLong:
        raise FetchRefused(f"The server's headers are longer than {MAX_HEAD_BYTES} bytes: send fewer.") from None
    except (urllib3_errors.IncompleteRead, http.client.IncompleteRead):
        raise FetchFailed(_INCOMPLETE) from None
    except ConnectionRefusedError:
        raise FetchFailed("The server accepts no connection at this port.") from None
    except (http.client.BadStatusLine, http.client.UnknownProtocol) as error:
        is_silent = isinstance(error, http.client.RemoteDisconnected)
        answer = "closed the connection without an answer" if is_silent else "does not answer in HTTP at this port"
        raise FetchFailed(f"The server {answer}.") from None
    except ContradictoryLengths:
        raise FetchFailed("The server sends contradictory `Content-Length` headers.") from None
    except (OSError, http.client.HTTPException, urllib3_errors.HTTPError, ValueError) as error:
        if isinstance(error.__cause__, http.client.IncompleteRead):
            raise FetchFailed(_INCOMPLETE) from None
        raise FetchFailed("The connection to the server failed.") from None


def _tls_error(error: Exception) -> FetchFailed:
    if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY" in str(error):
        problem = _CERTIFICATE_PROBLEMS.get(getattr(error, "verify_code", 0), "is not valid for this address")
        return FetchRefused(f"The server's certificate {problem}.")
    if getattr(error, "reason", "") in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
        return FetchFailed("The server does not speak TLS at this port: use an http address or another port.")
    if getattr(error, "reason", "") in ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"):
        return FetchRefused("The server offers no current version of TLS: enable TLS 1.2 or later.")
    return FetchFailed("The secure connection (TLS) to the server failed.")


def status_error(status: int, retry_after_s: float | None) -> JobError | None:
    """Returns the error for the status of a final response; None for a success with a body.

    retry_after_s: wait that the server asks for; kept for statuses that may pass.
    """
    if status in _NOT_YET:
        return not_there_yet(f"status {status}", retry_after_s)
    if 200 <= status < 300:
        return None
    if status in (404, 410):
        return NotFound(f"There is nothing at this address (status {status}).")
    if status in (401, 403, 451):
        return AccessDenied(_denied(status))
    if status in _TRY_LATER or status >= 500:
        return FetchFailed(_unavailable(status, retry_after_s), retry_after_s=retry_after_s)
    if status == 304:
        return FetchRefused("The server answered that the file has not changed (status 304), though nobody asked.")
    if status == 300:
        return FetchRefused("The server offers several addresses (status 300): use the image's own URL.")
    if 300 <= status < 400:
        return FetchRefused(
            f"The server answered with status {status} but names no new address (Location): use the image's own URL."
        )
    return FetchRefused(f"The server refuses to serve the file (status {status}): check that a browser can open it.")


def not_there_yet(found: str, retry_after_s: float | None = None) -> FetchFailed:
    """Returns the retryable error for an answer without a file. found: what came instead."""
    return FetchFailed(f"The file is not there yet ({found}).", retry_after_s=retry_after_s)


def _denied(status: int) -> str:
    remedy = {
        401: "it asks for a login, so use a public or presigned URL",
        403: "use a public or presigned URL, or let it accept this service's User-Agent (ENRICH_FETCH__USER_AGENT)",
        451: "for legal reasons, so use another source",
    }[status]
    return f"The server denies access (status {status}): {remedy}."


def _unavailable(status: int, retry_after_s: float | None) -> str:
    patience = "" if retry_after_s is None else f", Retry-After {retry_after_s:.0f} s"
    if status == 429:
        return f"The server gets too many requests (status 429{patience})."
    return f"The server cannot serve the file at the moment (status {status}{patience})."

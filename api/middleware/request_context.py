"""What every answer carries: a request id, headers that protect browsers, and one event in the log."""

from __future__ import annotations

import re
import time
import uuid

import structlog
from flask import Flask, Response, g, request

from core.telemetry.logs import get_logger

log = get_logger(__name__)

REQUEST_ID_HEADER = "X-Request-Id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # For answers that are no pages; pages bring their own.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}

# Asked every few seconds by probes and Prometheus: logged only when somebody debugs.
QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})


def install(app: Flask) -> None:
    """Wraps every request."""
    app.before_request(_open)
    app.after_request(_close)


def request_id() -> str:
    """The current request's id: the caller's own, if it is a plain one."""
    return str(g.request_id)


def _open() -> None:
    given = request.headers.get(REQUEST_ID_HEADER, "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    g.started = time.monotonic()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _close(response: Response) -> Response:
    response.headers[REQUEST_ID_HEADER] = request_id()
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    tell = log.debug if request.path in QUIET_PATHS else log.info
    # The path only: query strings may hold what is nobody's business.
    tell(
        "request_served",
        method=request.method,
        path=request.path,
        status=response.status_code,
        duration_ms=round((time.monotonic() - g.started) * 1000, 1),
    )
    structlog.contextvars.clear_contextvars()
    return response

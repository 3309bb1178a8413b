"""Adds a request id and security headers to every response, and logs one event per request."""

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
    # For everything but pages, which set their own policy.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}

# Requested every few seconds by probes and Prometheus; logged at debug level only.
QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})


def install(app: Flask) -> None:
    """Registers the hooks that run before and after every request."""
    app.before_request(_begin_request)
    app.after_request(_finish_response)


def request_id() -> str:
    """Returns the current request's id: the caller's `X-Request-Id` if it is valid, else a generated one."""
    return str(g.request_id)


def _begin_request() -> None:
    callers_id = request.headers.get(REQUEST_ID_HEADER, "")
    g.request_id = callers_id if _REQUEST_ID.fullmatch(callers_id) else uuid.uuid4().hex
    g.started = time.monotonic()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _finish_response(response: Response) -> Response:
    response.headers[REQUEST_ID_HEADER] = request_id()
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    write = log.debug if request.path in QUIET_PATHS else log.info
    # Without the query string, which may contain a secret.
    write(
        "request_served",
        method=request.method,
        path=request.path,
        status=response.status_code,
        duration_ms=round((time.monotonic() - g.started) * 1000, 1),
    )
    structlog.contextvars.clear_contextvars()
    return response

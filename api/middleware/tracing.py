"""Records a span for each API request. It continues the caller's trace, and the job's span continues it."""

from __future__ import annotations

import contextlib

from flask import Flask, Response, g, request
from opentelemetry.trace import SpanKind

from api.middleware.request_context import request_id
from api.routes.metrics import UNMATCHED
from core.telemetry.tracing import add_attributes, span

TRACED_PREFIX = "/v1/"


def install(app: Flask) -> None:
    """Traces every request whose path starts with the prefix."""
    app.before_request(_begin)
    app.after_request(_record_status)
    app.teardown_request(_end)


def _begin() -> None:
    if not request.path.startswith(TRACED_PREFIX):
        return
    route = request.url_rule.rule if request.url_rule is not None else UNMATCHED
    attributes = {"http.request.method": request.method, "http.route": route, "request_id": request_id()}
    parent = request.headers.get("traceparent")
    g.span_exit = contextlib.ExitStack()
    g.span = g.span_exit.enter_context(
        span(f"{request.method} {route}", attributes, parent=parent, kind=SpanKind.SERVER)
    )


def _record_status(response: Response) -> Response:
    if "span" in g:
        add_attributes(g.span, {"http.response.status_code": response.status_code})
    return response


def _end(error: BaseException | None = None) -> None:
    if (span_exit := g.pop("span_exit", None)) is not None:
        span_exit.close()

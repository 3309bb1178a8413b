"""A span for each request of the interface: it continues the caller's trace, and the job's goes on from it."""

from __future__ import annotations

import contextlib

from flask import Flask, Response, g, request

from api.middleware.request_context import request_id
from api.routes.metrics import UNMATCHED
from api.services import resources

TRACED_PREFIX = "/v1/"


def install(app: Flask) -> None:
    """Wraps every request under the prefix."""
    app.before_request(_begin)
    app.after_request(_note_status)
    app.teardown_request(_end)


def _begin() -> None:
    if not request.path.startswith(TRACED_PREFIX):
        return
    route = request.url_rule.rule if request.url_rule is not None else UNMATCHED
    attributes = {"http.request.method": request.method, "http.route": route, "request_id": request_id()}
    span = resources().tracing.span(
        f"{request.method} {route}", attributes, parent=request.headers.get("traceparent"), kind="server"
    )
    g.span = contextlib.ExitStack()
    g.mark = g.span.enter_context(span)


def _note_status(response: Response) -> Response:
    if "mark" in g:
        g.mark({"http.response.status_code": response.status_code})
    return response


def _end(error: BaseException | None = None) -> None:
    if (span := g.pop("span", None)) is not None:
        span.close()

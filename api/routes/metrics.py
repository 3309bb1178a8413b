"""`/metrics` for Prometheus, and what counts requests. No part of the documented interface, and public as the probes
are: it tells how busy the service is, so a proxy in front of it should not pass it on."""

from __future__ import annotations

import time
from http import HTTPMethod

from apiflask import APIBlueprint
from flask import Flask, Response, g, request
from prometheus_client.exposition import choose_encoder

from api.services import resources

blueprint = APIBlueprint("metrics", __name__, enable_openapi=False)

UNMATCHED = "unmatched"
"""Route of requests that no rule fits: their paths are the caller's words, and without end."""

OTHER = "other"
_METHODS = frozenset(method.value for method in HTTPMethod)


def install(app: Flask) -> None:
    """Counts every request that is answered."""
    app.after_request(_count)


@blueprint.get("/metrics")
def metrics() -> Response:
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return Response(encode(resources().metrics.registry.collectors), content_type=content_type)


def _count(response: Response) -> Response:
    route = request.url_rule.rule if request.url_rule is not None else UNMATCHED
    method = request.method if request.method in _METHODS else OTHER
    counted = resources().metrics
    counted.requests.labels(method, route, str(response.status_code)).inc()
    counted.request_seconds.labels(route).observe(time.monotonic() - g.started)
    return response

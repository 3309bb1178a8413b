"""`/metrics` for Prometheus, and the hook that counts requests.

The route is public like the probes, and not part of the documented API. It reveals the service's load, so a reverse
proxy should not expose it.
"""

from __future__ import annotations

import time
from http import HTTPMethod

from apiflask import APIBlueprint
from flask import Flask, Response, g, request
from prometheus_client.exposition import choose_encoder

from api.services import services

blueprint = APIBlueprint("metrics", __name__, enable_openapi=False)

UNMATCHED = "unmatched"
"""Route label of requests that match no rule. Their paths are chosen by callers and would be unbounded labels."""

OTHER = "other"
_METHODS = frozenset(method.value for method in HTTPMethod)


def install(app: Flask) -> None:
    """Counts every response."""
    app.after_request(_count)


@blueprint.get("/metrics")
def get_metrics() -> Response:
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return Response(encode(services().metrics.registry.collectors), content_type=content_type)


def _count(response: Response) -> Response:
    route = request.url_rule.rule if request.url_rule is not None else UNMATCHED
    method = request.method if request.method in _METHODS else OTHER
    metrics = services().metrics
    metrics.requests.labels(method, route, str(response.status_code)).inc()
    metrics.request_seconds.labels(route).observe(time.monotonic() - g.started)
    return response

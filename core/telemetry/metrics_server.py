"""A metrics server for processes without an HTTP API."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from prometheus_client import start_http_server

from core.settings import MetricsSettings
from core.startup_errors import PortTaken
from core.telemetry.logs import get_logger
from core.telemetry.metrics import Registry

log = get_logger(__name__)


@contextlib.contextmanager
def serve_metrics(settings: MetricsSettings, registry: Registry) -> Iterator[None]:
    """Serves `/metrics` while the block runs. Does nothing if no port is set.

    Raises PortTaken immediately, so that it comes before any expensive startup.
    """
    if settings.port is None:
        yield
        return
    try:
        server, thread = start_http_server(settings.port, settings.host, registry.collectors)
    except OSError as error:
        raise PortTaken(
            f"Metrics cannot be served on port {settings.port} of {settings.host} ({error.strerror or error}): "
            "stop the process that uses the port, or set another ENRICH_METRICS__PORT or ENRICH_METRICS__HOST."
        ) from error
    log.info("serve_metrics", host=settings.host, port=settings.port)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

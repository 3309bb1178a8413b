"""Where a process's metrics are read: a listener of its own for those that serve no HTTP."""

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
def metrics_served(settings: MetricsSettings, registry: Registry) -> Iterator[None]:
    """Answers scrapes while the block runs; does nothing when no port is set.

    Raises PortTaken at once, so that it comes before any dear start.
    """
    if settings.port is None:
        yield
        return
    try:
        server, thread = start_http_server(settings.port, settings.host, registry.collectors)
    except OSError as error:
        raise PortTaken(
            f"Metrics cannot be served on port {settings.port} of {settings.host} ({error.strerror or error}): "
            "stop what listens there, or set another ENRICH_METRICS__PORT or ENRICH_METRICS__HOST."
        ) from error
    log.info("metrics_served", host=settings.host, port=settings.port)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

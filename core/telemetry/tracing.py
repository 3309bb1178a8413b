"""Traces, when they are asked for: one spans a job from the API's request over the worker to each webhook attempt.

What a job's trace continues from is kept in its row (`job.traceparent`, W3C Trace Context) and not in the message: a
message may be lost and is then made anew from the row. Nothing of a trace is sent to others, neither to the hosts that
pictures are fetched from nor to receivers of webhooks. OpenTelemetry is an extra, and is imported only when it is used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Literal

from core.settings import TracingSettings
from core.startup_errors import StartError

Value = str | int | float | bool
Attributes = Mapping[str, Value]
"""Names with a dot are of OpenTelemetry's conventions, others get the prefix `enrich.`."""

Mark = Callable[[Attributes], None]
"""Adds attributes to the span that gave it."""

Kind = Literal["internal", "server", "consumer", "client"]


class Tracing:
    """Makes spans; this one makes none."""

    def span(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        parent: str | None = None,
        kind: Kind = "internal",
    ) -> AbstractContextManager[Mark]:
        """A span while the block runs, under the thread's current one or under `parent` (a traceparent)."""
        return contextlib.nullcontext(lambda attributes: None)

    def traceparent(self) -> str | None:
        """What continues the current span elsewhere; None without one."""
        return None

    def close(self) -> None:
        """Sends what has not been sent yet."""


def open_tracing(settings: TracingSettings, process: str) -> Tracing:
    """The process's. Raises StartError when traces are asked for and the extra is not installed."""
    if settings.endpoint is None:
        return Tracing()
    check_tracing(settings)
    from core.telemetry.otlp import OpenTelemetry, otlp

    return OpenTelemetry(otlp(settings.endpoint), process, settings.sample_ratio)


def check_tracing(settings: TracingSettings) -> None:
    """Raises StartError when traces are asked for and the extra is not installed."""
    if settings.endpoint is None:
        return
    try:
        import core.telemetry.otlp  # noqa: F401
    except ModuleNotFoundError as error:
        raise StartError(
            f"ENRICH_TRACING__ENDPOINT asks for traces, but {error.name} is not installed: "
            "`pip install 'asset-enrichment[tracing]'`, or unset it."
        ) from error

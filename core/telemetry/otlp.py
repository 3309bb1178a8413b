"""Traces by OpenTelemetry. Import it through `core.telemetry.tracing` alone: it needs the extra `tracing`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from core.telemetry.tracing import (
    Attributes,
    Kind,
    Mark,
    Tracing,
    Value,
)

EXPORT_TIMEOUT_S = 5.0
"""A collector that is away must not hold a process that is told to stop."""

KINDS = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "consumer": SpanKind.CONSUMER,
    "client": SpanKind.CLIENT,
}
PREFIX = "enrich."


class OpenTelemetry(Tracing):
    """Sends spans through `processor`. Whether a trace is kept is decided where it begins, by `sample_ratio`."""

    def __init__(self, processor: SpanProcessor, process: str, sample_ratio: float = 1.0) -> None:
        resource = Resource.create(
            {"service.name": f"enrich-{process}", "service.version": version("asset-enrichment")}
        )
        self._provider = TracerProvider(resource=resource, sampler=ParentBasedTraceIdRatio(sample_ratio))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("asset-enrichment")
        self._propagator = TraceContextTextMapPropagator()

    @contextlib.contextmanager
    def span(
        self,
        name: str,
        attributes: Attributes | None = None,
        *,
        parent: str | None = None,
        kind: Kind = "internal",
    ) -> Iterator[Mark]:
        context = self._propagator.extract({"traceparent": parent}) if parent else None
        with self._tracer.start_as_current_span(name, context, KINDS[kind], _named(attributes)) as span:
            yield lambda more: span.set_attributes(_named(more))

    def traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get("traceparent")

    def close(self) -> None:
        self._provider.shutdown()


def otlp(endpoint: str) -> SpanProcessor:
    """Sends in batches over HTTP, in a thread of its own: no job waits for it, and what it cannot keep is dropped."""
    return BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_TIMEOUT_S))


def _named(attributes: Attributes | None) -> dict[str, Value]:
    return {name if "." in name else PREFIX + name: value for name, value in (attributes or {}).items()}

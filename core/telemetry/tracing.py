"""OpenTelemetry traces. One trace spans a job: the API request, the worker, and each webhook attempt.

Spans are created through `opentelemetry-api`, which does nothing until a provider is set. `exporting` sets one when
`tracing.endpoint` is configured; only then is the SDK (the extra `tracing`) imported.

The traceparent (W3C Trace Context) is stored in the job's row and not in the message, because a lost message is
published again from the row. It is never sent to other hosts: neither to image servers nor to webhook receivers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from core.settings import TracingSettings
from core.startup_errors import StartError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

Value = str | int | float | bool
Attributes = Mapping[str, Value]
"""Names with a dot belong to OpenTelemetry's semantic conventions; all others get the prefix `enrich.`."""

EXPORT_TIMEOUT_S = 5.0
"""An unreachable collector must not delay a process that is shutting down."""

_PREFIX = "enrich."
_PROPAGATOR = TraceContextTextMapPropagator()


@contextlib.contextmanager
def span(
    name: str,
    attributes: Attributes | None = None,
    *,
    parent: str | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
) -> Iterator[Span]:
    """Records a span while the block runs, as a child of the current span or of `parent`, a traceparent."""
    # Looked up at each call, so that a provider set later is used.
    tracer = trace.get_tracer("asset-enrichment")
    context = _PROPAGATOR.extract({"traceparent": parent}) if parent else None
    with tracer.start_as_current_span(name, context, kind, _prefixed(attributes or {})) as current:
        yield current


def add_attributes(span: Span, attributes: Attributes) -> None:
    """Adds attributes to a span that `span` created."""
    span.set_attributes(_prefixed(attributes))


def current_traceparent() -> str | None:
    """Returns the traceparent of the current span, or None if this process exports no traces."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None  # without a provider, a span would only repeat the caller's traceparent
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


@contextlib.contextmanager
def exporting(settings: TracingSettings, process: str) -> Iterator[None]:
    """Exports this process's spans while the block runs, and sends the remaining ones at its end.

    Does nothing if no endpoint is configured. Raises StartError if the extra `tracing` is not installed.
    """
    provider = start_exporting(settings, process)
    try:
        yield
    finally:
        if provider is not None:
            provider.shutdown()


def start_exporting(settings: TracingSettings, process: str) -> TracerProvider | None:
    """Sets the process's provider and returns it, or None if no endpoint is configured.

    The SDK shuts the provider down when the interpreter exits. Raises StartError, as `check_tracing` does.
    """
    if settings.endpoint is None:
        return None
    check_tracing(settings)
    provider = make_provider(_otlp_processor(settings.endpoint), process, settings.sample_ratio)
    trace.set_tracer_provider(provider)
    return provider


def make_provider(processor: SpanProcessor, process: str, sample_ratio: float = 1.0) -> TracerProvider:
    """Returns a provider whose root spans are sampled by `sample_ratio`; child spans follow their parent."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    resource = Resource.create({"service.name": f"enrich-{process}", "service.version": version("asset-enrichment")})
    provider = TracerProvider(resource=resource, sampler=ParentBasedTraceIdRatio(sample_ratio))
    provider.add_span_processor(processor)
    return provider


def check_tracing(settings: TracingSettings) -> None:
    """Raises StartError if an endpoint is configured but the extra `tracing` is not installed."""
    if settings.endpoint is None:
        return
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace  # noqa: F401
    except ModuleNotFoundError as error:
        raise StartError(
            f"ENRICH_TRACING__ENDPOINT is set, but the package {error.name} is not installed: "
            "run `pip install 'asset-enrichment[tracing]'`, or unset it."
        ) from error


def _otlp_processor(endpoint: str) -> SpanProcessor:
    """Returns a processor that sends batches over HTTP in its own thread and drops spans when its queue is full."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_TIMEOUT_S))


def _prefixed(attributes: Attributes) -> dict[str, Value]:
    return {name if "." in name else _PREFIX + name: value for name, value in attributes.items()}

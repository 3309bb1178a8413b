"""The Prometheus metrics of all processes: names, types, labels and buckets.

Each process creates a `Registry` and its metrics; nothing is global and nothing is registered at import. Label values
come from closed sets: lanes, the codes of `core/errors.py`, route rules, taxonomy values; never ids, paths or text from
callers. Series with known labels are created with 0, so that their first increment counts as an increase.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from core.errors import JobError
from core.states import Lane

LANES = tuple(lane.value for lane in Lane)
STAGES = ("fetch", "decode", "model", "caption", "finish")
ENDINGS = ("succeeded", "failed", "retried", "released")
SWEEP_OUTCOMES = ("ok", "failed", "skipped")
ATTEMPT_OUTCOMES = ("delivered", "failed")
ENDPOINT_STATES = ("well", "failing", "disabled")
WAITING_STATUSES = ("queued", "processing")
JOB_KINDS = ("address", "upload")
MEMORY_KINDS = ("allocated", "reserved", "total")

REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
STAGE_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
JOB_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21_600)
BATCH_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
BATCH_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
ATTEMPT_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)


@dataclasses.dataclass(frozen=True)
class Definition:
    """The definition of a metric. `kind` is counter, gauge or histogram."""

    process: str
    name: str
    kind: str
    text: str
    labels: tuple[str, ...]


class Registry:
    """The metrics of one process and their definitions. Includes `process_*` and `python_*`."""

    def __init__(self, process: str) -> None:
        # By default each counter has a second series with its creation time, which nothing uses.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.process = process
        self.collectors = CollectorRegistry()
        self.definitions: list[Definition] = []
        ProcessCollector(registry=self.collectors)
        PlatformCollector(registry=self.collectors)
        GCCollector(registry=self.collectors)
        info = self.gauge("enrich_build_info", "The running release, as labels; always 1.", "version", "process")
        info.labels(version("asset-enrichment"), process).set(1)

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        self._note(name, "counter", text, labels)
        return Counter(name, text, labels, registry=self.collectors)

    def gauge(self, name: str, text: str, *labels: str) -> Gauge:
        self._note(name, "gauge", text, labels)
        return Gauge(name, text, labels, registry=self.collectors)

    def histogram(self, name: str, text: str, *labels: str, buckets: Sequence[float]) -> Histogram:
        self._note(name, "histogram", text, labels)
        return Histogram(name, text, labels, buckets=buckets, registry=self.collectors)

    def _note(self, name: str, kind: str, text: str, labels: tuple[str, ...]) -> None:
        self.definitions.append(Definition(self.process, name, kind, text, labels))


class ApiMetrics:
    """The metrics of the API."""

    def __init__(self, registry: Registry | None = None) -> None:
        registry = registry or Registry("api")
        self.registry = registry
        self.requests = registry.counter(
            "enrich_http_requests_total",
            "HTTP requests by method, route rule and status; `unmatched` if no route matches.",
            "method",
            "route",
            "status",
        )
        self.request_seconds = registry.histogram(
            "enrich_http_request_seconds",
            "Seconds from the request headers to the response headers, including the time spent in `wait`.",
            "route",
            buckets=REQUEST_BUCKETS_S,
        )
        self.jobs_accepted = registry.counter(
            "enrich_jobs_accepted_total", "Accepted jobs, by lane and by kind (address or upload).", "lane", "kind"
        )
        self.publish_failed = registry.counter(
            "enrich_publish_failed_total",
            "Jobs whose message could not be published; the dispatcher publishes it later.",
        )
        self.waiting_requests = registry.gauge(
            "enrich_waiting_requests", "Requests that currently wait for a job to finish."
        )
        for lane in LANES:
            for kind in JOB_KINDS:
                self.jobs_accepted.labels(lane, kind)


class WorkerMetrics:
    """The metrics of a worker, which serves one lane."""

    def __init__(self, registry: Registry | None = None) -> None:
        registry = registry or Registry("worker")
        self.registry = registry
        self.jobs_finished = registry.counter(
            "enrich_jobs_finished_total",
            "Jobs that left the worker: finished, queued for a retry, or released at shutdown. `code` is the error "
            "code; `retried` with `poison` means that the child process that ran the job died.",
            "lane",
            "status",
            "code",
        )
        self.job_seconds = registry.histogram(
            "enrich_job_seconds",
            "Seconds from the creation of a job to its answer, for jobs that succeeded.",
            "lane",
            buckets=JOB_BUCKETS_S,
        )
        self.stage_seconds = registry.histogram(
            "enrich_stage_seconds", "Seconds that a job spent in each stage.", "stage", buckets=STAGE_BUCKETS_S
        )
        self.batch_size = registry.histogram("enrich_batch_size", "Images per model call.", buckets=BATCH_SIZE_BUCKETS)
        self.batch_seconds = registry.histogram(
            "enrich_batch_seconds", "Seconds per model call, including captions.", buckets=BATCH_BUCKETS_S
        )
        self.jobs_in_progress = registry.gauge(
            "enrich_jobs_in_progress", "Jobs that the worker currently holds.", "lane"
        )
        self.answers = registry.counter(
            "enrich_answers_total",
            "Answers by attribute and value; `null` if the model was not confident enough.",
            "attribute",
            "answer",
        )
        self.leases_lost = registry.counter(
            "enrich_leases_lost_total",
            "Jobs that were canceled or claimed by another worker while this worker held them.",
        )
        self.bundle_info = registry.gauge(
            "enrich_bundle_info", "The loaded model bundle, as labels; always 1.", "bundle", "version", "taxonomy"
        )
        self.gpu_memory_bytes = registry.gauge(
            "enrich_gpu_memory_bytes", "GPU memory in bytes, as PyTorch reports it; absent without a GPU.", "kind"
        )
        self.ready_seconds = registry.gauge(
            "enrich_worker_ready_seconds",
            "Seconds from the start of the process until it consumed from the queue; NaN until then.",
        )
        self.ready_seconds.set(math.nan)
        for stage in STAGES:
            self.stage_seconds.labels(stage)

    def create_lane_series(self, lane: str) -> None:
        """Creates the series of the worker's lane with 0."""
        self.job_seconds.labels(lane)
        self.jobs_in_progress.labels(lane)
        for status in ("succeeded", "released"):
            self.jobs_finished.labels(lane, status, "")
        for code in job_error_codes():
            self.jobs_finished.labels(lane, "failed", code)


class DispatcherMetrics:
    """The metrics of the dispatcher: its own work, and the state of the queue and the database."""

    def __init__(self, registry: Registry | None = None) -> None:
        registry = registry or Registry("dispatcher")
        self.registry = registry
        self.queue_depth = registry.gauge("enrich_queue_depth", "Messages in the lane's queue.", "lane")
        self.queue_in_flight = registry.gauge(
            "enrich_queue_in_flight", "Unacknowledged messages held by the lane's workers.", "lane"
        )
        self.queue_oldest_seconds = registry.gauge(
            "enrich_queue_oldest_seconds",
            "Seconds since the oldest queued job became due; 0 if none is queued.",
            "lane",
        )
        self.jobs = registry.gauge(
            "enrich_jobs", "Unfinished jobs by lane and status, counted up to a million.", "lane", "status"
        )
        self.sweeps = registry.counter(
            "enrich_sweeps_total", "Sweeps by outcome; `skipped` if another dispatcher was sweeping.", "outcome"
        )
        self.jobs_republished = registry.counter(
            "enrich_jobs_republished_total", "Jobs published again because the queue lost their message."
        )
        self.jobs_expired = registry.counter(
            "enrich_jobs_expired_total", "Leases that expired because a worker died or hung."
        )
        self.jobs_poisoned = registry.counter(
            "enrich_jobs_poisoned_total",
            "Jobs that the dispatcher failed as `poison` because their lease expired too often.",
        )
        self.webhook_attempts = registry.counter(
            "enrich_webhook_attempts_total", "Webhook delivery attempts by outcome.", "outcome"
        )
        self.webhook_attempt_seconds = registry.histogram(
            "enrich_webhook_attempt_seconds",
            "Seconds per webhook delivery attempt, successful or not.",
            buckets=ATTEMPT_BUCKETS_S,
        )
        self.webhook_pending = registry.gauge(
            "enrich_webhook_pending", "Pending webhook deliveries, counted up to a million."
        )
        self.webhook_lag_seconds = registry.gauge(
            "enrich_webhook_lag_seconds",
            "Seconds since the oldest pending delivery to a healthy endpoint became due; 0 if none is due.",
        )
        self.webhook_endpoints = registry.gauge(
            "enrich_webhook_endpoints", "Registered webhook endpoints by state, without one-off addresses.", "state"
        )
        for outcome in SWEEP_OUTCOMES:
            self.sweeps.labels(outcome)
        for outcome in ATTEMPT_OUTCOMES:
            self.webhook_attempts.labels(outcome)


def job_error_codes() -> list[str]:
    """Returns the error codes of failed jobs, sorted."""
    return sorted({error.code for error in _subclasses(JobError)})


def definitions() -> list[Definition]:
    """Returns the definitions of all metrics of all processes."""
    sets = (ApiMetrics(), WorkerMetrics(), DispatcherMetrics())
    return [definition for each in sets for definition in each.registry.definitions]


def _subclasses(base: type[JobError]) -> Iterator[type[JobError]]:
    for each in base.__subclasses__():
        yield each
        yield from _subclasses(each)

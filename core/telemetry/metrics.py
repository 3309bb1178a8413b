"""What our processes count and measure, all in one place: names, kinds, labels, buckets.

Each process makes a `Registry` and its own set from it; nothing is global, and nothing is counted at import. Labels are
closed sets: a lane, a code of `core/errors.py`, a route's rule, a value of the taxonomy; never an id, a path or a word
of a caller's. What is known beforehand is there from the start with 0, so that the first of a kind is an increase.
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
    """A metric as others refer to it: `name` as it is exposed, `kind` = counter | gauge | histogram."""

    process: str
    name: str
    kind: str
    text: str
    labels: tuple[str, ...]


class Registry:
    """The metrics of one process, and a list of them. Beside ours it holds `process_*` and `python_*`."""

    def __init__(self, process: str) -> None:
        # A second series for each counter, that tells when it was made: nobody asks for it.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.process = process
        self.collectors = CollectorRegistry()
        self.definitions: list[Definition] = []
        ProcessCollector(registry=self.collectors)
        PlatformCollector(registry=self.collectors)
        GCCollector(registry=self.collectors)
        info = self.gauge("enrich_build_info", "The release that runs; always 1.", "version", "process")
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
    """The API's."""

    def __init__(self, registry: Registry | None = None) -> None:
        registry = registry or Registry("api")
        self.registry = registry
        self.requests = registry.counter(
            "enrich_http_requests_total",
            "Requests that were answered, by the route's rule (`unmatched`: there is none).",
            "method",
            "route",
            "status",
        )
        self.request_seconds = registry.histogram(
            "enrich_http_request_seconds",
            "From the request's headers to the answer's; what `wait` was asked for is part of it.",
            "route",
            buckets=REQUEST_BUCKETS_S,
        )
        self.jobs_accepted = registry.counter(
            "enrich_jobs_accepted_total", "New jobs, by an address or with a file.", "lane", "kind"
        )
        self.publish_failed = registry.counter(
            "enrich_publish_failed_total", "Jobs whose message the queue did not take; the dispatcher sends it later."
        )
        self.waiting_requests = registry.gauge(
            "enrich_waiting_requests", "Requests that wait for the end of a job now."
        )
        for lane in LANES:
            for kind in JOB_KINDS:
                self.jobs_accepted.labels(lane, kind)


class WorkerMetrics:
    """A worker's, of one lane."""

    def __init__(self, registry: Registry | None = None) -> None:
        registry = registry or Registry("worker")
        self.registry = registry
        self.jobs_finished = registry.counter(
            "enrich_jobs_finished_total",
            "Jobs that left the worker: ended, put back for another try, or given back at its end. `code` is that of "
            "the error; `poison` with `retried`: the process that ran it alone died.",
            "lane",
            "status",
            "code",
        )
        self.job_seconds = registry.histogram(
            "enrich_job_seconds",
            "From the making of a job to its answer, of those that succeeded.",
            "lane",
            buckets=JOB_BUCKETS_S,
        )
        self.stage_seconds = registry.histogram(
            "enrich_stage_seconds", "What a job spent in each stage.", "stage", buckets=STAGE_BUCKETS_S
        )
        self.batch_size = registry.histogram(
            "enrich_batch_size", "Pictures in one model call.", buckets=BATCH_SIZE_BUCKETS
        )
        self.batch_seconds = registry.histogram(
            "enrich_batch_seconds", "One model call, captions included.", buckets=BATCH_BUCKETS_S
        )
        self.jobs_in_progress = registry.gauge("enrich_jobs_in_progress", "Jobs that are held now.", "lane")
        self.answers = registry.counter(
            "enrich_answers_total", "Answers by value; `null`: not sure enough.", "attribute", "answer"
        )
        self.leases_lost = registry.counter(
            "enrich_leases_lost_total", "Jobs that were canceled or taken by another worker while this one held them."
        )
        self.bundle_info = registry.gauge(
            "enrich_bundle_info", "The bundle that answers; always 1.", "bundle", "version", "taxonomy"
        )
        self.gpu_memory_bytes = registry.gauge(
            "enrich_gpu_memory_bytes", "Memory of the GPU, as PyTorch counts it; nothing without one.", "kind"
        )
        self.ready_seconds = registry.gauge(
            "enrich_worker_ready_seconds", "From the start of the process to its first look at the queue."
        )
        self.ready_seconds.set(math.nan)
        self._begin_at_0()

    def _begin_at_0(self) -> None:
        for stage in STAGES:
            self.stage_seconds.labels(stage)

    def serve_lane(self, lane: str) -> None:
        """Makes the series of the worker's lane."""
        self.job_seconds.labels(lane)
        self.jobs_in_progress.labels(lane)
        for status in ("succeeded", "released"):
            self.jobs_finished.labels(lane, status, "")
        for code in job_error_codes():
            self.jobs_finished.labels(lane, "failed", code)


class DispatcherMetrics:
    """The dispatcher's, which is always on: beside its own work it tells the state of the queue and of the record."""

    def __init__(self, registry: Registry | None = None) -> None:
        registry = registry or Registry("dispatcher")
        self.registry = registry
        self.queue_depth = registry.gauge("enrich_queue_depth", "Messages in the lane's list in Redis.", "lane")
        self.queue_in_flight = registry.gauge(
            "enrich_queue_in_flight", "Messages that the lane's workers hold (its `unacked` hash).", "lane"
        )
        self.queue_oldest_seconds = registry.gauge(
            "enrich_queue_oldest_seconds",
            "How long the job that waits longest has been due, whatever was sent again; 0: none waits.",
            "lane",
        )
        self.jobs = registry.gauge(
            "enrich_jobs", "Jobs in the record that have not ended; counted up to a million.", "lane", "status"
        )
        self.sweeps = registry.counter(
            "enrich_sweeps_total", "Rounds of the sweeper; `skipped`: another dispatcher was at it.", "outcome"
        )
        self.jobs_republished = registry.counter(
            "enrich_jobs_republished_total", "Jobs that were published again because the queue had lost them."
        )
        self.jobs_expired = registry.counter(
            "enrich_jobs_expired_total", "Leases that ran out: a worker died or hung with the job."
        )
        self.jobs_poisoned = registry.counter(
            "enrich_jobs_poisoned_total",
            "Jobs failed as `poison` here, because their lease ran out once too often; no worker was left to tell it.",
        )
        self.webhook_attempts = registry.counter("enrich_webhook_attempts_total", "Attempts at deliveries.", "outcome")
        self.webhook_attempt_seconds = registry.histogram(
            "enrich_webhook_attempt_seconds", "One attempt, whatever came of it.", buckets=ATTEMPT_BUCKETS_S
        )
        self.webhook_pending = registry.gauge(
            "enrich_webhook_pending", "Deliveries that have neither arrived nor failed; counted up to a million."
        )
        self.webhook_lag_seconds = registry.gauge(
            "enrich_webhook_lag_seconds",
            "How long the oldest delivery that may be attempted has been due, of endpoints that are well; 0: none.",
        )
        self.webhook_endpoints = registry.gauge(
            "enrich_webhook_endpoints", "Registered endpoints, one-off addresses not counted.", "state"
        )
        for outcome in SWEEP_OUTCOMES:
            self.sweeps.labels(outcome)
        for outcome in ATTEMPT_OUTCOMES:
            self.webhook_attempts.labels(outcome)


def job_error_codes() -> list[str]:
    """Every code a job can fail with, sorted."""
    return sorted({error.code for error in _subclasses(JobError)})


def definitions() -> list[Definition]:
    """All metrics of all processes."""
    sets = (ApiMetrics(), WorkerMetrics(), DispatcherMetrics())
    return [definition for each in sets for definition in each.registry.definitions]


def _subclasses(base: type[JobError]) -> Iterator[type[JobError]]:
    for each in base.__subclasses__():
        yield each
        yield from _subclasses(each)

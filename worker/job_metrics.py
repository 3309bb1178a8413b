"""Metrics of finished jobs, recorded in one place when each job ends."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import psutil
import torch

from core.jobs.lifecycle import Claim
from core.states import Lane
from core.telemetry.metrics import STAGES, WorkerMetrics
from model.bundle import Bundle

In = TypeVar("In")
Out = TypeVar("Out")

NO_ANSWER = "null"


@dataclasses.dataclass(frozen=True)
class JobOutcome:
    """How a job left the worker. A child process sends it to its parent, which records it.

    status: succeeded, failed, retried or released.
    timings: `<stage>_ms` for each stage that the job reached.
    metadata: the answer of a job that succeeded.
    """

    status: str
    code: str = ""
    timings: Mapping[str, float] = dataclasses.field(default_factory=dict)
    metadata: Mapping[str, str | None] = dataclasses.field(default_factory=dict)


class JobMetrics:
    """Records job outcomes. Thread-safe and without I/O."""

    def __init__(self, metrics: WorkerMetrics, bundle: Bundle) -> None:
        self._metrics = metrics
        self._values = {name: frozenset(values) for name, values in bundle.taxonomy.values.items()}

    def record(self, claim: Claim, outcome: JobOutcome | None, claimed_at: float) -> None:
        """Records one outcome.

        outcome: None if the lease was lost: then whoever ends the job records it.
        claimed_at: time of the claim by `time.monotonic()`.
        """
        if outcome is None:
            return
        self._metrics.jobs_finished.labels(claim.lane, outcome.status, outcome.code).inc()
        for stage in STAGES:
            if (stage_ms := outcome.timings.get(f"{stage}_ms")) is not None:
                self._metrics.stage_seconds.labels(stage).observe(stage_ms / 1000)
        if outcome.status == "succeeded":
            seconds = claim.queued_ms / 1000 + time.monotonic() - claimed_at
            self._metrics.job_seconds.labels(claim.lane).observe(seconds)
        for attribute, value in outcome.metadata.items():
            self._record_answer(attribute, value)

    def _record_answer(self, attribute: str, value: str | None) -> None:
        # Only values of the taxonomy become labels: the metadata holds free text, too.
        if attribute in self._values and (value is None or value in self._values[attribute]):
            self._metrics.answers.labels(attribute, NO_ANSWER if value is None else value).inc()


def with_metrics(
    forward: Callable[[Sequence[In]], list[Out]], metrics: WorkerMetrics
) -> Callable[[Sequence[In]], list[Out]]:
    """Wraps a model call so that its batch size and duration are recorded."""

    def measured(batch: Sequence[In]) -> list[Out]:
        metrics.batch_size.observe(len(batch))
        with metrics.batch_seconds.time():
            return forward(batch)

    return measured


def export_bundle(metrics: WorkerMetrics, bundle: Bundle, device: torch.device) -> None:
    """Exports which bundle answers and, on a GPU, its memory."""
    metrics.bundle_info.labels(bundle.name, bundle.version, bundle.taxonomy.version).set(1)
    if device.type == "cuda":
        memory = metrics.gpu_memory_bytes
        memory.labels("allocated").set_function(lambda: torch.cuda.memory_allocated(device))
        memory.labels("reserved").set_function(lambda: torch.cuda.memory_reserved(device))
        memory.labels("total").set(torch.cuda.get_device_properties(device).total_memory)


def export_ready(metrics: WorkerMetrics) -> None:
    """Exports the start-up time. Uses the wall clock, the only one by which the kernel reports a process's start."""
    metrics.ready_seconds.set(time.time() - psutil.Process().create_time())


def export_lane(metrics: WorkerMetrics, lane: Lane, count_held: Callable[[], int]) -> None:
    """Exports the lane's series, starting at 0."""
    metrics.create_lane_series(lane.value)
    metrics.jobs_in_progress.labels(lane.value).set_function(count_held)

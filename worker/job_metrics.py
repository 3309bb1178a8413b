"""What becomes of jobs, counted: in one place and at the end of each, so that the way there does no more than work."""

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
class Ended:
    """How a job left the worker; a child process hands it to its parent, who counts.

    status: succeeded, failed, retried or released. timings: `<stage>_ms` as far as it came. metadata: of an answer.
    """

    status: str
    code: str = ""
    timings: Mapping[str, float] = dataclasses.field(default_factory=dict)
    metadata: Mapping[str, str | None] = dataclasses.field(default_factory=dict)


class Tally:
    """Counts what ends. Thread-safe, and without any I/O."""

    def __init__(self, metrics: WorkerMetrics, bundle: Bundle) -> None:
        self._metrics = metrics
        self._values = {name: frozenset(values) for name, values in bundle.taxonomy.values.items()}

    def count(self, claim: Claim, ended: Ended | None, claimed_at: float) -> None:
        """claimed_at: by time.monotonic(). None = the job was not ours any more, so its end is somebody else's."""
        if ended is None:
            return
        self._metrics.jobs_finished.labels(claim.lane, ended.status, ended.code).inc()
        for stage in STAGES:
            if (stage_ms := ended.timings.get(f"{stage}_ms")) is not None:
                self._metrics.stage_seconds.labels(stage).observe(stage_ms / 1000)
        if ended.status == "succeeded":
            seconds = claim.queued_ms / 1000 + time.monotonic() - claimed_at
            self._metrics.job_seconds.labels(claim.lane).observe(seconds)
        for attribute, value in ended.metadata.items():
            self._count_answer(attribute, value)

    def _count_answer(self, attribute: str, value: str | None) -> None:
        # Only what the taxonomy knows becomes a label: names of products are in the metadata, too.
        if attribute in self._values and (value is None or value in self._values[attribute]):
            self._metrics.answers.labels(attribute, NO_ANSWER if value is None else value).inc()


def measured(
    forward: Callable[[Sequence[In]], list[Out]], metrics: WorkerMetrics
) -> Callable[[Sequence[In]], list[Out]]:
    """The same model call, with its size and its time noted."""

    def measure(batch: Sequence[In]) -> list[Out]:
        metrics.batch_size.observe(len(batch))
        with metrics.batch_seconds.time():
            return forward(batch)

    return measure


def tell_bundle(metrics: WorkerMetrics, bundle: Bundle, device: torch.device) -> None:
    """Which bundle answers, and the memory of the GPU it lies on, if it does."""
    metrics.bundle_info.labels(bundle.name, bundle.version, bundle.taxonomy.version).set(1)
    if device.type == "cuda":
        memory = metrics.gpu_memory_bytes
        memory.labels("allocated").set_function(lambda: torch.cuda.memory_allocated(device))
        memory.labels("reserved").set_function(lambda: torch.cuda.memory_reserved(device))
        memory.labels("total").set(torch.cuda.get_device_properties(device).total_memory)


def tell_ready(metrics: WorkerMetrics) -> None:
    """Notes how long the process took to begin; the wall clock, since the kernel tells no other of the start."""
    metrics.ready_seconds.set(time.time() - psutil.Process().create_time())


def serve_lane(metrics: WorkerMetrics, lane: Lane, count_held: Callable[[], int]) -> None:
    """The lane's series, from 0 on."""
    metrics.serve_lane(lane.value)
    metrics.jobs_in_progress.labels(lane.value).set_function(count_held)

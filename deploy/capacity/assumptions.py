"""The simulation's assumptions about machines and workers, with their sources."""

from __future__ import annotations

import dataclasses

from core.settings import (
    DispatcherSettings,
    JobSettings,
    QueueSettings,
    WorkerSettings,
)
from core.states import Lane

_JOBS, _QUEUE, _WORKER, _DISPATCHER = JobSettings(), QueueSettings(), WorkerSettings(), DispatcherSettings()


@dataclasses.dataclass(frozen=True)
class Worker:
    """One pod of a lane."""

    images_per_s: float
    slots: int
    """Messages that it holds at a time."""
    image_s: float
    """Seconds that an image occupies a thread, mostly for fetching it."""
    chunk: int = 1
    threads: int = _WORKER.threads
    max_batch: int = _WORKER.max_batch_size

    @property
    def rate(self) -> float:
        """Images per second, limited by the number of threads that fetch."""
        return min(self.images_per_s, self.threads / self.image_s)

    @property
    def message_s(self) -> float:
        """Seconds that a message is held if nothing is queued."""
        return self.image_s + (self.chunk - 1) / self.rate


@dataclasses.dataclass(frozen=True)
class Assumptions:
    """Times in seconds, rates per hour. Values of the service come from the defaults of its settings."""

    # Estimated without a GPU. With four cores decoding is the limit, at 187 images/s per core, and the service reaches
    # the share of this limit that `make bench` printed: 0.34 and 0.49. Without a GPU, two cores reach 48 and 61.
    # A single image takes 69 ms there; half as much is added for a server on another machine.
    interactive: Worker = Worker(images_per_s=254, slots=_WORKER.threads, image_s=0.1)
    # `BULK_MESSAGES` in worker/main.py.
    bulk: Worker = Worker(images_per_s=366, slots=2, image_s=0.1, chunk=_QUEUE.chunk_size)
    lease_s: float = _JOBS.lease_s
    renew_every_s: float = _JOBS.renew_every_s
    sweep_every_s: float = _DISPATCHER.sweep_every_s
    sweep_limit: int = _DISPATCHER.sweep_limit
    visibility_timeout_s: float = _QUEUE.visibility_timeout_s
    grace_s: float = _WORKER.grace_s
    # `enrich up` on two cores prints "interactive ready in 14.9 s", mostly for loading torch.
    worker_start_s: float = 15
    drain_s: float = 2
    # A GPU node is Ready 90 s (median) or 180 s (p95) after the request; then it pulls an image of 6 GB.
    node_median_s: float = 90
    node_p95_s: float = 180
    image_pull_s: float = 60
    # Cluster Autoscaler's defaults: --scan-interval, --scale-down-unneeded-time.
    node_scan_s: float = 10
    node_idle_s: float = 600
    pods_per_node: int = 1
    max_nodes: int = 1000
    gpus_per_node: int = 1
    crashes_per_pod_hour: float = 0.02
    reclaims_per_node_hour: float = 0.05
    reclaim_notice_s: float = 120
    price_per_gpu_hour: float = 1.0

    def of(self, lane: Lane) -> Worker:
        """Returns the worker of the lane."""
        return self.interactive if lane is Lane.INTERACTIVE else self.bulk

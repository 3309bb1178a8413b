"""All that one worker process holds: made once, started in order, closed in the opposite order."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from core.jobs import queries
from core.jobs.queue import Publisher
from core.settings import Settings
from core.states import Lane
from core.telemetry.metrics import WorkerMetrics
from core.telemetry.tracing import Tracing
from model.bundle import Bundle
from worker.assembly import open_pipeline
from worker.consumer import Chunks
from worker.job_metrics import Tally, serve_lane, tell_bundle
from worker.pipeline import Parts
from worker.process.isolation import Isolation
from worker.process.memory import heap_kept


@dataclasses.dataclass(frozen=True)
class Runtime:
    """A worker that is ready to take messages."""

    chunks: Chunks


@contextlib.contextmanager
def open_runtime(
    settings: Settings, lane: Lane, metrics: WorkerMetrics, tracing: Tracing | None = None
) -> Iterator[Runtime]:
    """Loads the model, tells the record of it, starts the threads; undoes all of it at the end."""
    with contextlib.ExitStack() as stack:
        pipeline = stack.enter_context(open_pipeline(settings, metrics, tracing or Tracing(), on_loaded=register))
        predictor = pipeline.parts.predictor
        tell_bundle(metrics, predictor.bundle, predictor.device)
        serve_lane(metrics, lane, pipeline.parts.leases.count)
        publisher = Publisher(settings)
        stack.callback(publisher.close)
        isolation = Isolation(settings)
        stack.callback(isolation.close)
        executor = ThreadPoolExecutor(settings.worker.threads, thread_name_prefix="job")
        # Chunks wait for their jobs by themselves; what they gave up on must not hold the process.
        stack.callback(executor.shutdown, wait=False, cancel_futures=True)
        stack.enter_context(heap_kept())
        yield Runtime(Chunks(lane, pipeline, publisher, executor, isolation, Tally(metrics, predictor.bundle)))


def register(parts: Parts) -> None:
    """Writes the bundle's row, from which the API tells of the model."""
    bundle = parts.predictor.bundle
    with parts.sessions.begin() as session:
        queries.register_bundle(
            session,
            name=bundle.name,
            version=bundle.version,
            taxonomy=bundle.taxonomy.to_json(),
            description=describe(bundle),
            card=bundle.card,
        )


def describe(bundle: Bundle) -> dict[str, Any]:
    """What `GET /v1/model` tells beside name, version and card."""
    return {
        "created": bundle.created,
        "architecture": bundle.architectures,
        "input_size": {"height": bundle.size[0], "width": bundle.size[1]},
        "attributes": {name: dataclasses.asdict(row) for name, row in bundle.calibration.items()},
        "metrics": bundle.metrics,
    }

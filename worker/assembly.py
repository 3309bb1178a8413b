"""The part of a worker that turns claims into answers, put together: for the worker itself and for its child alike."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial

from core.db.engine import make_engine, make_sessions
from core.net.http import GuardedClient
from core.settings import Settings
from core.storage.uploads import open_storage
from core.telemetry.logs import get_logger
from core.telemetry.metrics import WorkerMetrics
from core.telemetry.tracing import Tracing
from model.answer import Answer
from model.nets.cores import available_cores
from model.predictor import Predictor
from model.preprocessing import Pixels
from worker.batcher import Batcher
from worker.image.decode_limiter import DecodeSlots
from worker.image.fetch import Fetcher
from worker.job_metrics import measured
from worker.leases import LeaseKeeper
from worker.pipeline import Parts, Pipeline
from worker.process.watchdog import Hang, Watch

log = get_logger(__name__)


@contextlib.contextmanager
def open_pipeline(
    settings: Settings,
    metrics: WorkerMetrics,
    tracing: Tracing,
    on_loaded: Callable[[Parts], None] = lambda parts: None,
) -> Iterator[Pipeline]:
    """Model, batcher, leases, connections, and the watch over them; closed in the opposite order.

    on_loaded: called before the heartbeat tells that we are ready.
    """
    with contextlib.ExitStack() as stack:
        predictor = load_predictor(settings)
        engine = make_engine(settings)
        stack.callback(engine.dispose)
        sessions = make_sessions(engine)
        leases = LeaseKeeper(
            sessions,
            lease_s=settings.jobs.lease_s,
            renew_every_s=settings.jobs.renew_every_s,
            on_lost=metrics.leases_lost.inc,
        )
        leases.start()
        stack.callback(leases.close)
        batcher = Batcher[Pixels, Answer](
            measured(predictor.predict, metrics),
            max_batch_size=settings.worker.max_batch_size,
            max_wait_ms=settings.worker.max_wait_ms,
            deadline_s=settings.worker.batch_deadline_s,
        )
        stack.callback(batcher.close)
        client = GuardedClient(settings.fetch)
        stack.callback(client.close)
        parts = Parts(
            settings=settings,
            sessions=sessions,
            fetcher=Fetcher(settings, open_storage(settings), client),
            predictor=predictor,
            batcher=batcher,
            leases=leases,
            decode_slots=DecodeSlots(available_cores(), settings.worker.decode_deadline_s),
            tracing=tracing,
        )
        on_loaded(parts)
        watch = Watch([partial(_model_hang, batcher), parts.decode_slots.hang], settings.worker.heartbeat_file)
        watch.start()
        stack.callback(watch.close)
        yield Pipeline(parts)


def _model_hang(batcher: Batcher[Pixels, Answer]) -> Hang | None:
    """A thread that died answers as little as one that hangs."""
    return Hang("model_hangs") if batcher.is_hung() or not batcher.is_alive() else None


def load_predictor(settings: Settings) -> Predictor:
    """The bundle of the settings, warmed up."""
    started = time.perf_counter()
    worker = settings.worker
    predictor = Predictor.load(worker.bundle, device=worker.device, caption_budget_ms=worker.caption_budget_ms)
    predictor.warm_up()
    log.info(
        "model_loaded",
        bundle=predictor.bundle.name,
        version=predictor.bundle.version,
        is_traced=predictor.is_traced,
        seconds=round(time.perf_counter() - started, 1),
    )
    return predictor

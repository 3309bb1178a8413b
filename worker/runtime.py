"""Assembles a worker: every part is created here, started in order, and closed in reverse order."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from core.db.engine import Sessions, make_engine, make_sessions
from core.jobs import queries
from core.jobs.queue import Publisher
from core.net.http import GuardedClient
from core.settings import Settings
from core.states import Lane
from core.storage.uploads import open_storage
from core.telemetry.logs import get_logger
from core.telemetry.metrics import WorkerMetrics
from model.answer import Answer
from model.bundle import Bundle
from model.predictor import Predictor
from model.preprocessing import Pixels
from worker.batcher import Batcher
from worker.consumer import Consumer
from worker.image.decoder import Decoder
from worker.image.fetch import Fetcher
from worker.job_metrics import JobMetrics, export_bundle, export_lane, with_metrics
from worker.leases import LeaseKeeper
from worker.pipeline import Pipeline, WorkerBase
from worker.process.isolation import Isolation
from worker.process.memory import gc_frozen
from worker.process.shutdown import ShutdownSignal
from worker.process.watchdog import Hang, Watchdog
from worker.requeue import Requeuer
from worker.suspects import SuspectRunner

log = get_logger(__name__)


@contextlib.contextmanager
def open_consumer(
    settings: Settings, lane: Lane, metrics: WorkerMetrics, shutdown: ShutdownSignal | None = None
) -> Iterator[Consumer]:
    """Loads the model, registers its bundle, starts all threads, and yields a consumer that is ready for messages."""
    shutdown = shutdown or ShutdownSignal()
    with contextlib.ExitStack() as stack:
        base = stack.enter_context(open_base(settings, metrics, is_registered=True))
        export_bundle(metrics, base.predictor.bundle, base.predictor.device)
        export_lane(metrics, lane, base.leases.count)
        publisher = Publisher(settings)
        stack.callback(publisher.close)
        isolation = Isolation(settings, open_base)
        stack.callback(isolation.close)
        executor = ThreadPoolExecutor(settings.worker.threads, thread_name_prefix="job")
        # The consumer waits for its jobs; threads whose job was taken away must not keep the process alive.
        stack.callback(executor.shutdown, wait=False, cancel_futures=True)
        stack.enter_context(gc_frozen())
        job_metrics = JobMetrics(metrics, base.predictor.bundle)
        jobs, sessions, leases, pipeline = settings.jobs, base.sessions, base.leases, base.pipeline
        requeuer = Requeuer(sessions, publisher, lane, jobs.max_crashes)
        suspects = SuspectRunner(jobs, sessions, leases, pipeline, isolation, requeuer, job_metrics, shutdown)
        yield Consumer(jobs, sessions, leases, pipeline, suspects, requeuer, executor, job_metrics, shutdown)


@contextlib.contextmanager
def open_base(settings: Settings, metrics: WorkerMetrics, *, is_registered: bool = False) -> Iterator[WorkerBase]:
    """Opens model, database, leases, batcher, fetcher and watchdog.

    is_registered: whether to write the bundle's row before the heartbeat reports the worker ready.
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
            with_metrics(predictor.predict, metrics),
            max_batch_size=settings.worker.max_batch_size,
            max_wait_ms=settings.worker.max_wait_ms,
            deadline_s=settings.worker.batch_deadline_s,
        )
        stack.callback(batcher.close)
        client = GuardedClient(settings.fetch)
        stack.callback(client.close)
        fetcher = Fetcher(settings, open_storage(settings), client)
        decoder = Decoder(settings, predictor)
        stack.callback(decoder.close)
        if is_registered:
            decoder.start()
            register_bundle(sessions, predictor.bundle)
        watchdog = Watchdog([partial(_find_model_hang, batcher), decoder.find_hang], settings.worker.heartbeat_file)
        watchdog.start()
        stack.callback(watchdog.close)
        pipeline = Pipeline(settings, sessions, leases, fetcher, decoder, predictor, batcher)
        yield WorkerBase(sessions, leases, predictor, pipeline)


def load_predictor(settings: Settings) -> Predictor:
    """Loads and warms up the configured bundle."""
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


def register_bundle(sessions: Sessions, bundle: Bundle) -> None:
    """Writes the bundle's row, from which the API serves `GET /v1/model` and `GET /v1/taxonomy`."""
    with sessions.begin() as session:
        queries.register_bundle(
            session,
            name=bundle.name,
            version=bundle.version,
            taxonomy=bundle.taxonomy.to_json(),
            description=describe(bundle),
            card=bundle.card,
        )


def describe(bundle: Bundle) -> dict[str, Any]:
    """Returns the fields of `GET /v1/model` beside name, version and card."""
    return {
        "created": bundle.created,
        "architecture": bundle.architectures,
        "input_size": {"height": bundle.size[0], "width": bundle.size[1]},
        "attributes": {name: dataclasses.asdict(row) for name, row in bundle.calibration.items()},
        "metrics": bundle.metrics,
    }


def _find_model_hang(batcher: Batcher[Pixels, Answer]) -> Hang | None:
    """Reports a model call over its deadline. A dead thread answers as little as one that hangs."""
    return Hang("model_hung") if batcher.is_hung() or not batcher.is_alive() else None

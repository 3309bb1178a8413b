"""All that one worker process holds: made once, started in order, closed in the opposite order."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Any

from jobs import queries
from jobs.database import Sessions, make_engine, make_sessions
from jobs.http import GuardedClient
from jobs.logs import get_logger
from jobs.queue import Publisher
from jobs.settings import Settings
from jobs.storage import open_storage
from model.answer import Answer
from model.bundle import Bundle
from model.cores import available_cores
from model.predictor import Predictor
from model.preprocessing import Pixels
from worker.batcher import Batcher
from worker.chunks import Chunks
from worker.fetch import Fetcher
from worker.leases import LeaseKeeper
from worker.pipeline import Parts, Pipeline
from worker.watch import Watch

log = get_logger(__name__)


@dataclasses.dataclass(frozen=True)
class Runtime:
    """A worker that is ready to take messages."""

    chunks: Chunks
    predictor: Predictor


@contextlib.contextmanager
def open_runtime(settings: Settings) -> Iterator[Runtime]:
    """Loads the model, tells the record of it, starts the threads; undoes all of it at the end."""
    with contextlib.ExitStack() as stack:
        predictor = load_predictor(settings)
        engine = make_engine(settings)
        stack.callback(engine.dispose)
        sessions = make_sessions(engine)
        register(sessions, predictor)
        publisher = Publisher(settings)
        stack.callback(publisher.close)
        leases = LeaseKeeper(sessions, lease_s=settings.jobs.lease_s, renew_every_s=settings.jobs.renew_every_s)
        leases.start()
        stack.callback(leases.close)
        batcher = Batcher[Pixels, Answer](
            predictor.predict,
            max_batch_size=settings.worker.max_batch_size,
            max_wait_ms=settings.worker.max_wait_ms,
            deadline_s=settings.worker.batch_deadline_s,
        )
        stack.callback(batcher.close)
        client = GuardedClient(settings.fetch)
        stack.callback(client.close)
        executor = stack.enter_context(ThreadPoolExecutor(settings.worker.threads, thread_name_prefix="job"))
        parts = Parts(
            settings=settings,
            sessions=sessions,
            fetcher=Fetcher(settings, open_storage(settings), client),
            predictor=predictor,
            batcher=batcher,
            leases=leases,
            decode_slots=BoundedSemaphore(available_cores()),
        )
        watch = Watch(lambda: batcher.is_hung() or not batcher.is_alive(), settings.worker.heartbeat_file)
        watch.start()
        stack.callback(watch.close)
        yield Runtime(Chunks(sessions, publisher, Pipeline(parts), leases, executor, settings.jobs.lease_s), predictor)


def load_predictor(settings: Settings) -> Predictor:
    """The bundle of the settings, warmed up."""
    started = time.perf_counter()
    predictor = Predictor.load(settings.worker.bundle, device=settings.worker.device)
    predictor.warm_up()
    log.info(
        "model_loaded",
        bundle=predictor.bundle.name,
        version=predictor.bundle.version,
        seconds=round(time.perf_counter() - started, 1),
    )
    return predictor


def register(sessions: Sessions, predictor: Predictor) -> None:
    """Writes the bundle's row, from which the API tells of the model."""
    bundle = predictor.bundle
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
    """What `GET /v1/model` tells beside name, version and card."""
    return {
        "created": bundle.created,
        "architecture": bundle.architecture,
        "input_size": {"height": bundle.size[0], "width": bundle.size[1]},
        "attributes": {name: dataclasses.asdict(row) for name, row in bundle.calibration.items()},
        "metrics": bundle.metrics,
    }

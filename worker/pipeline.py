"""The main job, one claim at a time: fetch, decode, predict, finish."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from opentelemetry.trace import SpanKind

from core.db.engine import Sessions
from core.errors import DeadlineExceeded, InternalError, JobError
from core.jobs import lifecycle, queries
from core.jobs.lifecycle import Claim, Outcome, SeenAsset
from core.settings import Settings
from core.states import Status
from core.telemetry.logs import get_logger, log_context
from core.telemetry.tracing import add_attributes, span
from model.answer import Answer
from model.predictor import Predictor
from model.preprocessing import Pixels
from worker.batcher import Batcher
from worker.image.decoder import Decoder
from worker.image.fetch import Fetcher
from worker.job_metrics import JobOutcome
from worker.leases import LeaseKeeper
from worker.process.db_retry import retry_while_unavailable

T = TypeVar("T")

log = get_logger(__name__)


class LeaseLost(Exception):
    """The job no longer belongs to this worker: it was canceled, or another worker has taken it."""


class Pipeline:
    """Turns claims into answers. Thread-safe, as are all of its parts."""

    def __init__(
        self,
        settings: Settings,
        sessions: Sessions,
        leases: LeaseKeeper,
        fetcher: Fetcher,
        decoder: Decoder,
        predictor: Predictor,
        batcher: Batcher[Pixels, Answer],
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._leases = leases
        self._fetcher = fetcher
        self._decoder = decoder
        self._predictor = predictor
        self._batcher = batcher

    def run(self, claim: Claim) -> JobOutcome | None:
        """Brings one claimed job to its end: succeeded, failed, or queued again for a retry.

        Returns None if the lease was lost. Never raises for an error of the job itself.
        """
        ids = {"job_id": str(claim.id), "lane": claim.lane.value, "attempt": claim.attempt}
        with (
            log_context(job_id=claim.id, request_id=claim.request_id),
            span("job", ids, parent=claim.traceparent, kind=SpanKind.CONSUMER) as current,
        ):
            outcome = self._run(claim)
            status = outcome.status if outcome else "lease_lost"
            add_attributes(current, {"status": status, "code": outcome.code if outcome else ""})
        return outcome

    def fail(self, claim: Claim, error: JobError, timings: Mapping[str, float] | None = None) -> JobOutcome | None:
        """Ends the job as failed, or queues it again if the error is retryable and retries are left.

        Returns None if the lease was lost.
        """
        with self._leases.finishing(claim):
            status = self._retry(claim, lambda: self._write_failure(claim, error))
        if status is None:
            log.info("job_lease_lost", job_id=str(claim.id), code=error.code, why=error.message)
            return None
        log.info("job_failed", job_id=str(claim.id), code=error.code, why=error.message, retries=claim.retries)
        return JobOutcome("retried" if status is Status.QUEUED else status, error.code, timings or {})

    def _run(self, claim: Claim) -> JobOutcome | None:
        timings: dict[str, Any] = {"queued_ms": round(claim.queued_ms, 1)}
        try:
            metadata = self._enrich(claim, timings)
        except LeaseLost:
            log.info("job_lease_lost", job_id=str(claim.id))
            return None
        except JobError as error:
            return self.fail(claim, error, timings)
        except Exception:  # the task boundary: an unexpected error of one job must not end its chunk
            log.exception("job_unexpected_error", job_id=str(claim.id))
            unexpected = InternalError("an unexpected error occurred on our side; it is logged under the job's id")
            return self.fail(claim, unexpected, timings)
        return JobOutcome(Status.SUCCEEDED, timings=timings, metadata=metadata)

    def _enrich(self, claim: Claim, timings: dict[str, Any]) -> dict[str, Any]:
        with _stage(timings, "fetch"):
            data = self._fetcher.fetch(claim.address, is_upload=claim.is_upload).body
        sha256 = hashlib.sha256(data).hexdigest()
        asset, outcome = self._find_stored_answer(claim, sha256) or self._predict(claim, data, sha256, timings)
        outcome = dataclasses.replace(outcome, timings=_with_all_stages(timings))
        with _stage(timings, "finish"):
            self._finish(claim, asset, outcome)
        return outcome.metadata

    def _find_stored_answer(self, claim: Claim, sha256: str) -> tuple[SeenAsset, Outcome] | None:
        # Same owner, same bytes, same bundle version: the model would return the same answer again.
        bundle = self._predictor.bundle

        def find() -> tuple[SeenAsset, Outcome] | None:
            with self._sessions() as session:
                return queries.find_cached_answer(session, claim.owner_id, sha256, bundle.name, bundle.version)

        return self._retry(claim, find)

    def _predict(self, claim: Claim, data: bytes, sha256: str, timings: dict[str, Any]) -> tuple[SeenAsset, Outcome]:
        self._check_held(claim)
        with self._decoder.reserve(claim, data) as decode, _stage(timings, "decode"):
            image = decode()
        self._check_held(claim)
        asset = SeenAsset(sha256, image.width, image.height, image.format, len(data))
        return asset, self._to_outcome(self._answer(image.pixels, timings))

    def _answer(self, pixels: Pixels, timings: dict[str, Any]) -> Answer:
        with span("predict") as current:
            try:
                item = self._batcher.submit(pixels).result(self._settings.worker.batch_deadline_s)
            except concurrent.futures.TimeoutError as error:
                raise DeadlineExceeded("the model did not answer in time; the job is retried") from error
            add_attributes(current, {"batch_size": item.batch_size, "model_ms": item.model_ms})
        caption_ms = item.output.caption_ms
        timings |= {"model_ms": round(item.model_ms - caption_ms, 1), "caption_ms": round(caption_ms, 1)}
        timings["batch_size"] = item.batch_size
        return item.output

    def _to_outcome(self, answer: Answer) -> Outcome:
        bundle = self._predictor.bundle
        document = answer.to_json()
        return Outcome(
            bundle_name=bundle.name,
            bundle_version=bundle.version,
            taxonomy_version=bundle.taxonomy.version,
            metadata=document["metadata"],
            predictions=document["predictions"],
            caption_source=document["caption_source"],
            timings={},
            in_domain=document["in_domain"],
            is_degraded=answer.is_degraded,
            embedding=None if answer.embedding is None else answer.embedding.astype("<f2").tobytes(),
        )

    def _check_held(self, claim: Claim) -> None:
        if not self._leases.is_held(claim):
            raise LeaseLost

    def _finish(self, claim: Claim, asset: SeenAsset, outcome: Outcome) -> None:
        with self._leases.finishing(claim):
            is_ours = self._retry(claim, lambda: self._write_answer(claim, asset, outcome))
        if not is_ours:
            raise LeaseLost
        log.info("job_finished", job_id=str(claim.id), **outcome.timings)

    def _write_answer(self, claim: Claim, asset: SeenAsset, outcome: Outcome) -> bool:
        with self._sessions() as session:
            is_ours = lifecycle.finish(session, claim, asset, outcome)
            session.commit() if is_ours else session.rollback()
        return is_ours

    def _write_failure(self, claim: Claim, error: JobError) -> Status | None:
        with self._sessions.begin() as session:
            return lifecycle.fail_or_retry(session, claim, error, self._settings.jobs)

    def _retry(self, claim: Claim, transaction: Callable[[], T]) -> T:
        # While Postgres is unavailable nobody can take the job from us, so the result is kept until it returns.
        return retry_while_unavailable(transaction, lambda: not self._leases.is_held(claim))


@contextlib.contextmanager
def _stage(timings: dict[str, Any], name: str) -> Iterator[None]:
    """Records the duration of a stage in `timings` and as a span."""
    started = time.perf_counter()
    try:
        with span(name):
            yield
    finally:
        timings[f"{name}_ms"] = round((time.perf_counter() - started) * 1000, 1)


def _with_all_stages(timings: dict[str, Any]) -> dict[str, Any]:
    """Fills in missing keys, so that a stored answer has the same keys as a computed one (batch size 0: no model)."""
    return {"queued_ms": 0, "fetch_ms": 0, "decode_ms": 0, "model_ms": 0, "caption_ms": 0, "batch_size": 0} | timings


@dataclasses.dataclass(frozen=True)
class WorkerBase:
    """The opened parts that a worker and its isolated child process have in common."""

    sessions: Sessions
    leases: LeaseKeeper
    predictor: Predictor
    pipeline: Pipeline

"""The main job, one claim at a time: fetch → decode → predict → finish."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from core.db.engine import Sessions
from core.errors import DeadlineExceeded, InternalError, JobError
from core.jobs import lifecycle, queries
from core.jobs.lifecycle import Claim, Outcome, SeenAsset
from core.settings import Settings
from core.states import Status
from core.telemetry.logs import about, get_logger
from core.telemetry.tracing import Tracing
from model.answer import Answer
from model.predictor import Predictor
from model.preprocessing import Pixels
from worker.batcher import Batcher
from worker.image.decode_limiter import DecodeSlots
from worker.image.fetch import Fetcher
from worker.image.preprocess import prepare
from worker.job_metrics import Ended
from worker.leases import LeaseKeeper
from worker.process.db_retry import outlast

T = TypeVar("T")

log = get_logger(__name__)


class LetGo(Exception):
    """The job is no longer ours: canceled, or taken by another worker."""


@dataclasses.dataclass(frozen=True)
class Parts:
    """What the pipeline is made of; all of it may be used by many threads at once."""

    settings: Settings
    sessions: Sessions
    fetcher: Fetcher
    predictor: Predictor
    batcher: Batcher[Pixels, Answer]
    leases: LeaseKeeper
    decode_slots: DecodeSlots
    tracing: Tracing


class Pipeline:
    """Turns claims into answers. `run` never raises for what is wrong with one job."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def run(self, claim: Claim) -> Ended | None:
        """Brings one claimed job to its end: answered, failed, or put back for another try. None = it was let go."""
        ids = {"job_id": str(claim.id), "lane": claim.lane.value, "attempt": claim.attempt}
        span = self.parts.tracing.span("job", ids, parent=claim.traceparent, kind="consumer")
        with about(job_id=claim.id, request_id=claim.request_id), span as mark:
            ended = self._run(claim)
            mark({"status": ended.status, "code": ended.code} if ended else {"status": "let_go"})
        return ended

    def _run(self, claim: Claim) -> Ended | None:
        timings: dict[str, Any] = {"queued_ms": round(claim.queued_ms, 1)}
        try:
            metadata = self._enrich(claim, timings)
        except LetGo:
            log.info("job_let_go", job_id=str(claim.id))
            return None
        except JobError as error:
            return self.fail(claim, error, timings)
        except Exception:  # the task boundary: one job's surprise must not take its chunk along
            log.exception("job_surprised_us", job_id=str(claim.id))
            ours = InternalError("something went wrong on our side; it is logged under the job's id")
            return self.fail(claim, ours, timings)
        return Ended(Status.SUCCEEDED, timings=timings, metadata=metadata)

    def _enrich(self, claim: Claim, timings: dict[str, Any]) -> dict[str, Any]:
        with self._stage(timings, "fetch"):
            data = self.parts.fetcher.fetch(claim.address, is_upload=claim.is_upload).body
        sha256 = hashlib.sha256(data).hexdigest()
        asset, outcome = self._stored_answer(claim, sha256) or self._predict(claim, data, sha256, timings)
        outcome = dataclasses.replace(outcome, timings=_complete(timings))
        with self._stage(timings, "finish"):
            self._finish(claim, asset, outcome)
        return outcome.metadata

    def _stored_answer(self, claim: Claim, sha256: str) -> tuple[SeenAsset, Outcome] | None:
        # Same owner, same bytes, same bundle version: the model would say the same again.
        bundle = self.parts.predictor.bundle

        def find() -> tuple[SeenAsset, Outcome] | None:
            with self.parts.sessions() as session:
                return queries.find_stored_answer(session, claim.owner_id, sha256, bundle.name, bundle.version)

        return self._outlast(claim, find)

    def _predict(self, claim: Claim, data: bytes, sha256: str, timings: dict[str, Any]) -> tuple[SeenAsset, Outcome]:
        self._check_held(claim)
        with self.parts.decode_slots.take(claim), self._stage(timings, "decode"):
            picture = prepare(data, self.parts.predictor, self.parts.settings.decode)
        self._check_held(claim)
        asset = SeenAsset(sha256, picture.width, picture.height, picture.format, len(data))
        return asset, self._outcome(self._answer(picture.pixels, timings))

    def _answer(self, pixels: Pixels, timings: dict[str, Any]) -> Answer:
        with self.parts.tracing.span("predict") as mark:
            try:
                item = self.parts.batcher.submit(pixels).result(self.parts.settings.worker.batch_deadline_s)
            except concurrent.futures.TimeoutError as error:
                raise DeadlineExceeded("the model did not answer in time; the job is tried again") from error
            mark({"batch_size": item.batch_size, "model_ms": item.model_ms})
        caption_ms = item.output.caption_ms
        timings |= {"model_ms": round(item.model_ms - caption_ms, 1), "caption_ms": round(caption_ms, 1)}
        timings["batch_size"] = item.batch_size
        return item.output

    def _outcome(self, answer: Answer) -> Outcome:
        bundle = self.parts.predictor.bundle
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
        if not self.parts.leases.is_held(claim):
            raise LetGo

    def _finish(self, claim: Claim, asset: SeenAsset, outcome: Outcome) -> None:
        self.parts.leases.ending(claim)
        if not self._outlast(claim, lambda: self._write_answer(claim, asset, outcome)):
            raise LetGo
        self.parts.leases.drop(claim)
        log.info("job_finished", job_id=str(claim.id), **outcome.timings)

    def _write_answer(self, claim: Claim, asset: SeenAsset, outcome: Outcome) -> bool:
        with self.parts.sessions() as session:
            is_ours = lifecycle.finish(session, claim, asset, outcome)
            session.commit() if is_ours else session.rollback()
        return is_ours

    def fail(self, claim: Claim, error: JobError, timings: Mapping[str, float] | None = None) -> Ended | None:
        """Ends the job as failed, or puts it back for another try when the error is one that may pass.

        None = it was not ours any more.
        """
        self.parts.leases.ending(claim)
        is_ours = self._outlast(claim, lambda: self._write_failure(claim, error))
        self.parts.leases.drop(claim)
        event = "job_failed" if is_ours else "job_let_go"
        log.info(event, job_id=str(claim.id), code=error.code, why=error.message, retries=claim.retries)
        if not is_ours:
            return None
        is_retried = lifecycle.may_retry(claim, error, self.parts.settings.jobs)
        return Ended("retried" if is_retried else Status.FAILED, error.code, timings or {})

    def _write_failure(self, claim: Claim, error: JobError) -> bool:
        with self.parts.sessions.begin() as session:
            return lifecycle.fail_or_retry(session, claim, error, self.parts.settings.jobs)

    @contextlib.contextmanager
    def _stage(self, timings: dict[str, Any], name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            with self.parts.tracing.span(name):
                yield
        finally:
            timings[f"{name}_ms"] = round((time.perf_counter() - started) * 1000, 1)

    def _outlast(self, claim: Claim, action: Callable[[], T]) -> T:
        # While Postgres is away nobody can take the job from us: what we know of it is kept until it returns.
        return outlast(action, lambda: not self.parts.leases.is_held(claim))


def _complete(timings: dict[str, Any]) -> dict[str, Any]:
    """All keys of `timings`, so that a stored answer has the form of a fresh one (batch size 0: no model ran)."""
    return {"queued_ms": 0, "fetch_ms": 0, "decode_ms": 0, "model_ms": 0, "caption_ms": 0, "batch_size": 0} | timings

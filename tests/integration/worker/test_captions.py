"""A real worker with a captioner: the name and the embedding in the record, and what becomes of a late name."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from core.db.engine import Sessions, make_engine, make_sessions
from core.db.models import LOCAL_OWNER, Result
from core.jobs.queries import get_job
from core.jobs.queue import Publisher
from core.settings import Settings, WorkerSettings
from tests.conftest import NewSettings
from tests.image_server import ImageServer
from tests.integration.worker.conftest import StartWorker
from tests.processes import wait_until
from tests.records import new_job, open_jobs
from train.synthetic.tiny import make_tiny_bundle

DIMENSIONS = 8


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle with a captioner, in the place of the one without."""
    return make_tiny_bundle(tmp_path_factory.mktemp("writing"), threshold=0.1, has_captioner=True)


@pytest.fixture(params=[WorkerSettings(), WorkerSettings(caption_budget_ms=1e-6)], ids=["in time", "late"])
def worker_settings(
    request: pytest.FixtureRequest, new_settings: NewSettings, tmp_path: Path, start_worker: StartWorker
) -> Iterator[Settings]:
    with new_settings(tmp_path) as settings:
        settings = settings.model_copy(update={"worker": request.param})
        with start_worker(settings):
            yield settings


def test_a_name_in_time_is_kept_and_a_late_one_is_degraded(worker_settings: Settings, images: ImageServer) -> None:
    is_late = worker_settings.worker.caption_budget_ms < 1
    engine = make_engine(worker_settings)
    sessions, publisher = make_sessions(engine), Publisher(worker_settings)
    first, again = (answered(sessions, publisher, images) for _ in range(2))
    assert first.caption_source == ("structured" if is_late else "decoder")
    assert first.answer["productDisplayName"]
    assert first.is_degraded is again.is_degraded is is_late
    assert first.timings["caption_ms"] > 0
    # A degraded answer is never used again: the model runs anew.
    assert (again.timings["batch_size"] > 0) is is_late
    if not is_late:
        assert again.embedding == first.embedding
        assert vector(first) == pytest.approx(1, abs=2e-3)
    publisher.close()
    engine.dispose()


def vector(result: Result) -> float:
    assert result.embedding is not None
    embedding = np.frombuffer(result.embedding, dtype="<f2").astype(np.float32)
    assert embedding.shape == (DIMENSIONS,)
    return float(np.linalg.norm(embedding))


def answered(sessions: Sessions, publisher: Publisher, images: ImageServer) -> Result:
    job_id: uuid.UUID = new_job(sessions, publisher, images.url("/good.jpg")).id
    wait_until(lambda: open_jobs(sessions) == 0, 60, "the job to end")
    with sessions() as session:
        assert "embedding" not in get_job(session, LOCAL_OWNER, job_id)
        return session.scalars(select(Result).where(Result.job_id == job_id)).one()

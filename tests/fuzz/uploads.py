"""Mutated pictures through the whole service: uploaded, queued, decoded by a real worker among good ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import urllib3

from core.db.engine import make_engine, make_sessions
from core.settings import ApiSettings, JobSettings, Settings
from tests import pictures
from tests.fuzz.decoding import CODES
from tests.fuzz.mutations import mutated
from tests.ports import free_port
from tests.processes import running, wait_for_api, wait_for_file, wait_until
from tests.records import open_jobs, outcomes
from train.synthetic.tiny import make_tiny_bundle


@dataclass(frozen=True)
class Report:
    """How the mutated ended by code (`succeeded` among them), the good ones that did not, and whether a worker died."""

    ended: dict[str, int]
    good_failed: int
    unexpected: int
    deaths: int


def upload(settings: Settings, seed: int, count: int, folder: Path) -> Report:
    """`count` mutated pictures and a tenth as many good ones; `settings` name the servers."""
    settings = _own(settings, folder)
    with (
        running(settings, "api", log=folder / "api.log"),
        running(settings, "worker", "--lane", "interactive", log=folder / "worker.log") as worker,
    ):
        wait_for_api(f"http://127.0.0.1:{settings.api.port}")
        wait_for_file(folder / "heartbeat", worker)
        bad = [_post(settings, mutated(seed, number)) for number in range(count)]
        good = [_post(settings, pictures.jpeg(100 + number, 80)) for number in range(count // 10)]
        engine = make_engine(settings)
        sessions = make_sessions(engine)
        wait_until(lambda: open_jobs(sessions) == 0 or worker.poll() is not None, 300, "all jobs to end")
        ended = Counter(outcomes(sessions, [job for job in bad if job]))
        good_failed = sum(end != "succeeded" for end in outcomes(sessions, [job for job in good if job]))
        engine.dispose()
        deaths = int(worker.poll() is not None)
    unexpected = sum(number for end, number in ended.items() if end not in CODES | {"succeeded"})
    return Report(dict(ended), good_failed, unexpected, deaths)


def _own(settings: Settings, folder: Path) -> Settings:
    bundle = make_tiny_bundle(folder / "bundle")
    worker = settings.worker.model_copy(update={"heartbeat_file": folder / "heartbeat", "bundle": bundle})
    api = ApiSettings(require_key=False, port=free_port())
    return settings.model_copy(update={"worker": worker, "api": api, "jobs": JobSettings(max_retries=0)})


def _post(settings: Settings, data: bytes) -> UUID | None:
    """The new job's id; None where the file is refused at once (an empty one)."""
    fields = {"file": ("picture.jpg", data, "image/jpeg")}
    answer = urllib3.request("POST", f"http://127.0.0.1:{settings.api.port}/v1/jobs", fields=fields, retries=False)
    if answer.status == 422:
        return None
    if answer.status != 202:
        raise RuntimeError(f"an upload was answered {answer.status}: {answer.data[:300]!r}")
    return UUID(answer.json()["id"])

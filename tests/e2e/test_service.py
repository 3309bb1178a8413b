"""API and worker processes with the shipped bundle: a thousand jobs at once, and the same results as `predict`."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from csv import DictReader
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import urllib3

from core.db.engine import make_engine, make_sessions
from core.settings import ApiSettings, Settings
from model.answer import METADATA_KEYS
from tests import pictures
from tests.bench.pictures import served
from tests.conftest import NewSettings
from tests.ports import free_port
from tests.processes import ROOT, environment, running, wait_for_api, wait_for_file, wait_until
from tests.records import open_jobs, outcomes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FASHION = ROOT.parent / "shared" / "data" / "fashion"


@pytest.fixture(scope="module")
def service(new_settings: NewSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A running API and a running interactive worker, with the shipped bundle."""
    folder = tmp_path_factory.mktemp("service")
    with new_settings(folder) as settings:
        # A busy machine must not cost a name: the answers are compared word for word.
        own = {"heartbeat_file": folder / "heartbeat", "caption_budget_ms": 60_000}
        worker = settings.worker.model_copy(update=own)
        settings = settings.model_copy(
            update={"api": ApiSettings(require_key=False, port=free_port()), "worker": worker}
        )
        with (
            running(settings, "api", log=folder / "api.log"),
            running(settings, "worker", "--lane", "interactive", log=folder / "worker.log") as child,
        ):
            wait_for_api(base(settings))
            wait_for_file(folder / "heartbeat", child)
            yield settings


def base(settings: Settings) -> str:
    return f"http://127.0.0.1:{settings.api.port}"


def post_all(settings: Settings, requests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """POSTs all requests, sixteen in parallel."""
    with urllib3.PoolManager(maxsize=16) as http, ThreadPoolExecutor(16) as threads:

        def post(request: dict[str, Any]) -> dict[str, Any]:
            answer = http.request("POST", f"{base(settings)}/v1/jobs", timeout=60, **request)
            assert answer.status in (200, 202), answer.data
            return dict(answer.json())

        return list(threads.map(post, requests))


def test_a_thousand_jobs_at_once_all_succeed(service: Settings) -> None:
    engine = make_engine(service)
    sessions = make_sessions(engine)
    with served(50) as addresses:
        requests = [{"json": {"url": f"{addresses[number % 50]}?{number}"}} for number in range(1000)]
        accepted = post_all(service, requests)
        wait_until(lambda: open_jobs(sessions) == 0, 240, "a thousand jobs to end")
    assert len({job["id"] for job in accepted}) == 1000
    with urllib3.PoolManager() as http:
        listed = http.request("GET", f"{base(service)}/v1/jobs?status=succeeded&limit=100").json()
    assert len(listed["jobs"]) == 100
    assert {tuple(job["metadata"]) for job in listed["jobs"]} == {METADATA_KEYS}
    assert set(outcomes(sessions, [UUID(job["id"]) for job in accepted])) == {"succeeded"}
    engine.dispose()


def drawn(folder: Path) -> list[Path]:
    """Writes images in several formats."""
    files = []
    for name in ("jpeg", "png_alpha", "webp", "gif", "tiff", "avif", "jpeg_orientation_6", "jpeg_cmyk"):
        files.append(folder / name)
        files[-1].write_bytes(pictures.GOOD[name]())
    return files


def real(folder: Path, count: int = 100) -> list[Path]:
    """Extracts the first `count` images of the fixed test split."""
    files = []
    with (FASHION / "styles.csv").open(encoding="utf-8", newline="") as rows:
        test_ids = [int(row["id"]) for row in DictReader(rows) if row["split"] == "test"][:count]
    for number in test_ids:
        with zipfile.ZipFile(FASHION / f"images-{number % 4}.zip") as archive:
            files.append(folder / f"{number}.jpg")
            files[-1].write_bytes(archive.read(f"{number}.jpg"))
    return files


def answers_of_predict(service: Settings, files: Sequence[Path]) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "cli.main", "predict", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(service), check=True, cwd=ROOT)
    return [json.loads(line) for line in done.stdout.splitlines()]


def answers_of_service(service: Settings, files: Sequence[Path]) -> list[dict[str, Any]]:
    accepted = post_all(service, [{"fields": {"file": (file.name, file.read_bytes())}} for file in files])
    with urllib3.PoolManager() as http:
        return [answer_of(http, f"{base(service)}/v1/jobs/{job['id']}") for job in accepted]


def answer_of(http: urllib3.PoolManager, address: str) -> dict[str, Any]:
    return dict(http.request("GET", f"{address}?wait=60", timeout=90).json())


@pytest.mark.parametrize("source", ["drawn", "real"])
def test_the_service_answers_what_predict_answers(service: Settings, tmp_path: Path, source: str) -> None:
    if source == "real" and not FASHION.is_dir():
        pytest.skip("the catalogue data set is not beside this checkout (../shared/data/fashion)")
    files = drawn(tmp_path) if source == "drawn" else real(tmp_path)
    alone, served_answers = answers_of_predict(service, files), answers_of_service(service, files)
    differing = 0
    for one, other in zip(alone, served_answers, strict=True):
        assert other["status"] == "succeeded", other
        for name, prediction in one["predictions"].items():
            assert other["predictions"][name]["score"] == pytest.approx(prediction["score"], abs=1e-3), one["file"]
        differing += one["metadata"] != other["metadata"]
    # A score within rounding error of its threshold may fall on either side. Nothing else may differ.
    assert differing <= len(files) // 100

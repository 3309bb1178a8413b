"""A worker's metrics, scraped while it works: known work gives known values, in closed sets of labels."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from core.db.engine import Sessions
from core.db.models import LOCAL_OWNER, Job
from core.jobs import lifecycle
from core.jobs.queue import Publisher
from core.settings import JobSettings, MetricsSettings, Settings
from core.states import Lane, Status
from core.telemetry.metrics import STAGES, WorkerMetrics, job_error_codes
from dispatcher.sweeper import Sweeper
from model.taxonomy import Taxonomy
from tests import pictures
from tests.image_server import ImageServer
from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.test_poison import one_message
from tests.ports import free_port
from tests.processes import running, wait_until
from tests.records import new_job, open_jobs, outcomes, read_job
from tests.scraper import Scraped, assert_usual, read, scrape
from worker.process.shutdown import ShutdownSignal
from worker.runtime import open_consumer

FINISHED = "enrich_jobs_finished_total"
GOOD = 6


@pytest.fixture
def settings(settings: Settings) -> Settings:
    jobs = JobSettings(lease_s=2, renew_every_s=0.3, retry_base_s=0.05, max_retries=1)
    return settings.model_copy(update={"jobs": jobs, "metrics": MetricsSettings(port=free_port())})


@dataclasses.dataclass
class Service:
    """A worker, and a sweeper that the test turns by hand."""

    settings: Settings
    sessions: Sessions
    publisher: Publisher
    sweeper: Sweeper

    def scrape(self) -> Scraped:
        return scrape(f"http://127.0.0.1:{self.settings.metrics.port}")

    def finish_all(self) -> None:
        wait_until(lambda: self.sweeper.sweep() is not None and open_jobs(self.sessions) == 0, 60, "all jobs to end")

    def wait_for(self, is_so: Callable[[Scraped], bool], what: str) -> Scraped:
        """An end is written before it is counted, a moment later."""
        wait_until(lambda: is_so(self.scrape()), 20, what)
        return self.scrape()


@pytest.fixture
def service(settings: Settings, sessions: Sessions, publisher: Publisher) -> Service:
    return Service(settings, sessions, publisher, Sweeper(settings, sessions, publisher))


def ended(scraped: Scraped) -> int:
    return sum(value for (code, _, status), value in scraped.above_0(FINISHED).items() if status != "retried")


def test_known_work_gives_known_values(
    service: Service, images: ImageServer, start_worker: StartWorker, bundle: Path
) -> None:
    bad = ["/missing", "/status/403", "/html", "/status/503"]
    with start_worker(service.settings):
        assert service.scrape().above_0(FINISHED) == {}
        addresses = [*(images.url(f"/good.jpg?{number}") for number in range(GOOD)), *map(images.url, bad)]
        jobs = [new_job(service.sessions, service.publisher, address).id for address in addresses]
        service.finish_all()
        scraped = service.wait_for(lambda now: ended(now) == len(jobs), "all ends to be counted")
    assert outcomes(service.sessions, jobs[GOOD:]) == [
        "not_found",
        "access_denied",
        "unsupported_media_type",
        "fetch_failed",
    ]
    assert scraped.above_0(FINISHED) == {
        ("", "interactive", "succeeded"): GOOD,
        ("not_found", "interactive", "failed"): 1,
        ("access_denied", "interactive", "failed"): 1,
        ("unsupported_media_type", "interactive", "failed"): 1,
        ("fetch_failed", "interactive", "retried"): 1,
        ("fetch_failed", "interactive", "failed"): 1,
    }
    assert_stages(scraped)
    assert_answers(scraped, Taxonomy.load(bundle / "taxonomy.json"))
    assert_usual(scraped, "worker")
    description = json.loads((bundle / "bundle.json").read_text())
    [info] = scraped.of("enrich_bundle_info")
    assert (info["bundle"], info["version"]) == (description["name"], description["version"])
    assert 0 < scraped.value("enrich_worker_ready_seconds") < 60
    assert scraped.value("enrich_jobs_in_progress", lane="interactive") == 0
    assert scraped.value("enrich_leases_lost_total") == 0
    assert list(scraped.of("enrich_gpu_memory_bytes")) == [], "there is none to tell of"


def assert_stages(scraped: Scraped) -> None:
    assert scraped.label("enrich_stage_seconds_count", "stage") == set(STAGES)
    counts = {stage: scraped.value("enrich_stage_seconds_count", stage=stage) for stage in STAGES}
    # All eleven tries fetched. The answer to the same bytes is stored: how many were decoded before, is chance.
    assert counts["fetch"] == GOOD + 5
    assert 2 <= counts["decode"] <= GOOD, "the page that is no picture is refused before it is decoded"
    assert counts["model"] == counts["caption"] == counts["decode"]
    assert counts["finish"] == GOOD
    assert scraped.value("enrich_job_seconds_count", lane="interactive") == GOOD
    assert 0 < scraped.value("enrich_job_seconds_sum", lane="interactive") < GOOD * 60
    assert scraped.value("enrich_batch_size_sum") == counts["model"]
    assert scraped.value("enrich_batch_seconds_count") == scraped.value("enrich_batch_size_count") <= counts["model"]


def assert_answers(scraped: Scraped, taxonomy: Taxonomy) -> None:
    for attribute, values in taxonomy.values.items():
        counted = [each for each in scraped.of("enrich_answers_total") if each["attribute"] == attribute]
        assert {each["answer"] for each in counted} <= {*values, "null"}
        assert sum(scraped.value("enrich_answers_total", **each) for each in counted) == GOOD
    assert scraped.label("enrich_answers_total", "attribute") == set(taxonomy.values)
    assert scraped.label(FINISHED, "code") <= {*job_error_codes(), ""}


def test_what_is_held_and_lost_is_told(service: Service, images: ImageServer, start_worker: StartWorker) -> None:
    addresses = [images.url(f"/silent?{number}") for number in range(2)]
    jobs = [new_job(service.sessions, service.publisher, address, lane=Lane.BULK).id for address in addresses]
    own = service.settings.model_copy(update={"worker": service.settings.worker.model_copy(update={"grace_s": 2})})
    with start_worker(own, "bulk"):
        held = service.wait_for(lambda now: now.value("enrich_jobs_in_progress", lane="bulk") == 2, "both to be held")
        assert held.value("enrich_leases_lost_total") == 0
        with service.sessions.begin() as session:
            assert lifecycle.cancel(session, LOCAL_OWNER, jobs[0])
        lost = service.wait_for(lambda now: now.value("enrich_leases_lost_total") == 1, "the loss to be noticed")
        assert lost.value("enrich_jobs_in_progress", lane="bulk") == 1
        assert lost.above_0(FINISHED) == {}, "whoever canceled it ended it"


def test_what_is_given_back_is_counted(service: Service, images: ImageServer, bundle: Path) -> None:
    """In this process: a worker that gives back ends before anybody could scrape it."""
    worker = service.settings.worker.model_copy(update={"bundle": bundle})
    metrics = WorkerMetrics()
    job = new_job(service.sessions, service.publisher, images.url("/silent"))
    shutdown, own = ShutdownSignal(), service.settings.model_copy(update={"worker": worker})
    with open_consumer(own, Lane.INTERACTIVE, metrics, shutdown) as consumer:
        thread = threading.Thread(target=consumer.run, args=([job.id],))
        thread.start()
        wait_until(lambda: read_job(service.sessions, job.id).status == Status.PROCESSING, 20, "the claim")
        shutdown.release()
        thread.join(20)
        scraped = read(generate_latest(metrics.registry.collectors).decode())
    assert scraped.above_0(FINISHED) == {("", "interactive", "released"): 1}
    assert scraped.value("enrich_jobs_in_progress", lane="interactive") == 0
    assert read_job(service.sessions, job.id).status == Status.QUEUED


def test_what_a_child_process_did_is_counted_by_its_parent(
    service: Service, images: ImageServer, start_worker: StartWorker
) -> None:
    [job_id] = one_message(service.settings, service.sessions, service.publisher, [pictures.jpeg()])
    with service.sessions.begin() as session:
        session.get_one(Job, job_id).crashes = 1
    with start_worker(service.settings, "bulk"):
        service.finish_all()
        scraped = service.wait_for(lambda now: ended(now) == 1, "the end to be counted")
    assert scraped.above_0(FINISHED) == {("", "bulk", "succeeded"): 1}
    assert scraped.value("enrich_stage_seconds_count", stage="decode") == 1
    assert scraped.label("enrich_answers_total", "attribute")


def test_a_taken_port_ends_the_start_with_a_sentence(service: Service, images: ImageServer, tmp_path: Path) -> None:
    taken = int(images.url("").rpartition(":")[2].strip("/"))
    own = service.settings.model_copy(update={"metrics": MetricsSettings(port=taken)})
    log = tmp_path / "log"
    with running(own, "worker", "--lane", "bulk", log=log) as worker:
        assert worker.wait(60) == 2
    assert f"enrich: Metrics cannot be served on port {taken} of 127.0.0.1" in log.read_text()
    assert "Traceback" not in log.read_text()

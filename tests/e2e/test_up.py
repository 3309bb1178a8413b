"""`enrich up` as a user runs it: one command, all three kinds of jobs, Ctrl-C, and a power cut."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
import urllib3
from moto.server import ThreadedMotoServer

from core.telemetry.metrics import LANES
from model.answer import METADATA_KEYS
from tests import pictures
from tests.image_server import ImageServer
from tests.ports import free_port
from tests.processes import wait_until
from tests.scraper import assert_usual, scrape
from train.synthetic.tiny import make_tiny_bundle

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore", "ignore::DeprecationWarning:moto"),
]
ENRICH = [sys.executable, "-m", "cli.main"]
START_TIMEOUT_S = 120
# The first of three consecutive ports, below the system's ephemeral range.
METRICS_PORT = 20_000 + os.getpid() % 10_000


@dataclass
class Service:
    """A running `enrich up`."""

    process: subprocess.Popen[bytes]
    port: int
    output: Path

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def post(self, url: str, **headers: str) -> dict[str, Any]:
        with urllib3.PoolManager() as http:
            response = http.request("POST", f"{self.base}/v1/jobs", json={"url": url}, headers=headers, timeout=60)
            assert response.status in (200, 202), response.data
            return dict(response.json())

    def get(self, job_id: str, wait_s: int = 0) -> dict[str, Any]:
        with urllib3.PoolManager() as http:
            return dict(http.request("GET", f"{self.base}/v1/jobs/{job_id}?wait={wait_s}", timeout=90).json())

    def family(self) -> list[psutil.Process]:
        """Returns all processes, including the guardian and the servers."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    """A real S3 server with one image at s3://shop/shirt.jpg."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=url, **keys)
    client.create_bucket(Bucket="shop")
    client.put_object(Bucket="shop", Key="shirt.jpg", Body=pictures.jpeg(quality=90))
    client.close()
    yield url
    server.stop()


@pytest.fixture(scope="module")
def images() -> Iterator[ImageServer]:
    with ImageServer() as server:
        yield server


@contextlib.contextmanager
def running_up(data_dir: Path, bundle: Path, port: int, *options: str, **variables: str) -> Iterator[Service]:
    """Runs `enrich up` in its own process group, as from a terminal. Kills what is left at the end."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ENRICH_")}
    environment |= {"ENRICH_WORKER__BUNDLE": str(bundle), "ENRICH_FETCH__PORTS": "[]", **variables}
    output = data_dir.parent / f"output-{port}"
    with output.open("ab") as stream:
        process = subprocess.Popen(
            [*ENRICH, "up", "--data-dir", str(data_dir), "--port", str(port), *options],
            env=environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    service = Service(process, port, output)
    before = output.stat().st_size
    try:
        wait_until(
            lambda: b"\n  stop " in output.read_bytes()[before:] or process.poll() is not None, START_TIMEOUT_S, "ready"
        )
        assert process.poll() is None, output.read_text()
        yield service
    finally:
        if process.poll() is None:
            kill_all(service)


def kill_all(service: Service) -> None:
    for member in service.family():
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    service.process.wait()


def are_gone(family: list[psutil.Process]) -> bool:
    return not any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in family)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, bundle: Path, s3_url: str) -> Iterator[Service]:
    data_dir = tmp_path_factory.mktemp("up") / "data"
    s3 = {
        "ENRICH_S3__ENDPOINT_URL": s3_url,
        "ENRICH_S3__ACCESS_KEY_ID": "test",
        "ENRICH_S3__SECRET_ACCESS_KEY": "test",
    }
    with running_up(data_dir, bundle, free_port(), "--metrics-port", str(METRICS_PORT), **s3) as service:
        yield service
        # Starting is expensive, so this shutdown is also a test: killing the parent ends all processes.
        family = service.family()
        service.process.kill()
        service.process.wait()
        wait_until(lambda: are_gone(family), 20, "the end of all processes after a kill of the parent")


def assert_answered(document: dict[str, Any]) -> None:
    assert document["status"] == "succeeded", document
    assert tuple(document["metadata"]) == METADATA_KEYS
    assert document["model"]["bundle"] == "tiny"
    assert document["asset"]["width"], document


def test_an_image_by_url_is_processed(service: Service, images: ImageServer) -> None:
    assert_answered(service.post(images.url("/good.jpg"), Prefer="wait=30"))


def test_an_image_in_a_bucket_is_processed(service: Service) -> None:
    assert_answered(service.post("s3://shop/shirt.jpg", Prefer="wait=30"))


def test_an_uploaded_image_is_processed(service: Service) -> None:
    with urllib3.PoolManager() as http:
        response = http.request(
            "POST",
            f"{service.base}/v1/jobs",
            fields={"file": ("dress.png", pictures.encoded(pictures.drawn(), "PNG"))},
            headers={"Prefer": "wait=30"},
        )
    assert_answered(response.json())


def test_the_startup_output_explains_how_to_use_it(service: Service) -> None:
    output = service.output.read_text()
    assert f"open http://localhost:{service.port}" in output
    assert "all data is stored in" in output
    assert "Ctrl-C stops all processes" in output
    assert "127.0.0.0/8" in output


def test_every_process_can_be_scraped(service: Service, images: ImageServer) -> None:
    assert_answered(service.post(images.url("/good.jpg?scraped"), Prefer="wait=30"))
    assert_usual(scrape(service.base), "api")
    assert scrape(service.base).value("enrich_jobs_accepted_total", lane="interactive", kind="address") > 0
    for number, lane in enumerate(LANES):
        worker = scrape(f"http://127.0.0.1:{METRICS_PORT + number}")
        assert_usual(worker, "worker")
        assert worker.label("enrich_jobs_in_progress", "lane") == {lane}
    dispatcher = scrape(f"http://127.0.0.1:{METRICS_PORT + 2}")
    assert_usual(dispatcher, "dispatcher")
    assert dispatcher.value("enrich_queue_depth", lane="interactive") == 0
    assert f"ports {METRICS_PORT} to {METRICS_PORT + 2} for the other processes" in service.output.read_text()


def test_a_taken_metrics_port_is_reported_before_anything_is_started(service: Service, tmp_path: Path) -> None:
    refused = up_briefly(tmp_path / "other", free_port(), "--metrics-port", str(METRICS_PORT - 1))
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"enrich: Port {METRICS_PORT} on 127.0.0.1 is taken")
    assert "--metrics-port" in refused.stderr
    assert not (tmp_path / "other").exists()


def test_submit_waits_for_results_and_reports_failures(service: Service, images: ImageServer, tmp_path: Path) -> None:
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(pictures.jpeg(quality=80))
    sources = [images.url("/good.jpg"), str(picture), images.url("/status/404")]

    done = subprocess.run(
        [*ENRICH, "submit", "--wait", "--api", service.base, *sources], capture_output=True, text=True, check=False
    )

    by_address, uploaded, missing = (json.loads(line) for line in done.stdout.splitlines())
    assert_answered(by_address)
    assert_answered(uploaded)
    assert (missing["status"], missing["error"]["code"]) == ("failed", "not_found")
    assert done.returncode == 1, done.stderr


def test_a_second_instance_on_the_same_port_or_folder_fails_with_one_sentence(service: Service, tmp_path: Path) -> None:
    same_port = up_briefly(tmp_path / "other", service.port)
    assert same_port.returncode == 2
    assert same_port.stderr.startswith(f"enrich: Port {service.port} on 127.0.0.1 is taken")
    assert not (tmp_path / "other").exists(), "nothing is started or made before the port is known to be free"

    same_folder = up_briefly(service.output.parent / "data", free_port())
    assert same_folder.returncode == 2
    assert f"is in use by process {service.process.pid}" in same_folder.stderr
    assert len(same_folder.stderr.splitlines()) == 1


def up_briefly(data_dir: Path, port: int, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ENRICH, "up", "--data-dir", str(data_dir), "--port", str(port), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_queued_jobs_survive_a_power_cut_and_ctrl_c_leaves_no_processes(
    tmp_path: Path, bundle: Path, images: ImageServer
) -> None:
    port = free_port()
    short_leases = {"ENRICH_JOBS__LEASE_S": "3", "ENRICH_JOBS__RENEW_EVERY_S": "1"}

    # Given a service with work in it, all of whose processes are killed at once
    with running_up(tmp_path / "data", bundle, port, **short_leases) as service:
        addresses = [images.url(f"/good.jpg?{number}") for number in range(40)]
        job_ids = [service.post(address)["id"] for address in addresses]
        family = service.family()
        kill_all(service)
    wait_until(lambda: are_gone(family), 10, "the end of all processes")

    # When it is started again
    with running_up(tmp_path / "data", bundle, port, **short_leases) as service:
        # Then every job that was accepted is answered
        for job_id in job_ids:
            assert_answered(service.get(job_id, wait_s=60))

        # And when Ctrl-C is pressed, then it ends well and nothing is left
        family = service.family()
        os.killpg(service.process.pid, signal.SIGINT)
        assert service.process.wait(60) == 0
    wait_until(lambda: are_gone(family), 5, "the end of all processes")
    assert "stopped; no processes are left" in service.output.read_text()

"""A real Prometheus scrapes a real `enrich up` under jobs: every query of the dashboard has data, every rule works."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

import pytest
import torch

from deploy.monitoring import dashboard
from tests import pictures
from tests.deploy.monitoring.prometheus import (
    METRICS_PORTS,
    Client,
    Prometheus,
    prometheus_up,
    service_up,
)
from tests.image_server import ImageServer
from tests.ports import free_port, free_ports
from tests.processes import wait_until
from tests.webhook_receiver import Receiver
from train.synthetic.tiny import make_tiny_bundle

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

# What Grafana puts in: all lanes, one attribute, and about as many samples as it would take at this pace of scrapes.
GRAFANA = {"$lane": ".*", "$attribute": "gender", "$__rate_interval": "1m"}

MAY_BE_EMPTY = {} if torch.cuda.is_available() else {"GPU memory": "there is no GPU on this machine"}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """After two rounds of jobs, between which everything was scraped: rates need a before and an after."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no Prometheus on this machine: run tests/prepare.sh as root, or install it")
    folder, api_port, metrics_port = tmp_path_factory.mktemp("live"), free_port(), free_ports(METRICS_PORTS)
    with contextlib.ExitStack() as stack:
        images, receiver = stack.enter_context(ImageServer()), stack.enter_context(Receiver())
        bundle = make_tiny_bundle(folder / "bundle")
        service = stack.enter_context(service_up(folder, bundle, api_port, metrics_port))
        prometheus = stack.enter_context(prometheus_up(program, folder, api_port, metrics_port))
        service.post("/v1/webhook-endpoints", {"url": receiver.url()})
        for number in (1, 2):
            one_round(service, images, receiver, number)
            wait_for_scrape(prometheus, number)
        yield prometheus


def wait_for_scrape(prometheus: Prometheus, rounds: int) -> None:
    """Until Prometheus has from every process what so many rounds did."""
    expected = {
        "enrich_jobs_accepted_total": 10,
        'enrich_jobs_finished_total{status="succeeded"}': 6,
        'enrich_jobs_finished_total{code="not_found"}': 2,
        'enrich_jobs_finished_total{status="retried"}': 2,
        # Each end goes to the registered endpoint, and two to an address of the job's own.
        'enrich_webhook_attempts_total{outcome="delivered"}': 10,
    }
    for series, count in expected.items():
        query = f"sum({series})"
        wait_until(lambda q=query, n=count * rounds: sum(prometheus.query(q)) >= n, 30, query)  # type: ignore[misc]


def one_round(service: Client, images: ImageServer, receiver: Receiver, number: int) -> None:
    """Jobs of every kind in both lanes, until all have ended but those that will be tried again."""
    jobs = []
    for lane in ("interactive", "bulk"):
        for picture in range(2):
            # Each a picture of its own: known bytes are answered without the model.
            seed = number * 100 + picture * 10 + len(lane)
            jobs.append(service.upload(pictures.encoded(pictures.photo(120, 160, seed), "JPEG"), lane=lane))
        jobs.append(service.post("/v1/jobs", {"url": images.url("/status/404"), "lane": lane}))
        own = {"url": images.url(f"/good.jpg?{number}"), "lane": lane, "webhook_url": receiver.url("/own")}
        jobs.append(service.post("/v1/jobs", own))
        service.post("/v1/jobs", {"url": images.url("/status/503"), "lane": lane})
    ended = [service.get(f"/v1/jobs/{job['id']}", wait="50") for job in jobs]
    assert [job["status"] for job in ended] == ["succeeded", "succeeded", "failed", "succeeded"] * 2, ended


def test_all_four_processes_are_scraped(prometheus: Prometheus) -> None:
    assert prometheus.query("up") == [1, 1, 1, 1]
    processes = prometheus.get("/api/v1/label/process/values")["data"]
    assert processes == ["api", "dispatcher", "worker"]
    assert prometheus.query('count(count by (lane) (enrich_job_seconds_count{lane=~"interactive|bulk"}))') == [2]


def test_every_query_of_the_dashboard_has_data(prometheus: Prometheus) -> None:
    empty = {}
    for panel in dashboard.build()["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"]
            for variable, value in GRAFANA.items():
                query = query.replace(variable, value)
            assert "$" not in query
            if not prometheus.query(query):
                empty[panel["title"]] = query
    assert set(empty) == set(MAY_BE_EMPTY), empty


def test_the_choices_at_the_top_have_values(prometheus: Prometheus) -> None:
    for variable in dashboard.build()["templating"]["list"][1:]:
        metric = variable["definition"].removeprefix("label_values(").partition(",")[0]
        path = f"/api/v1/label/{variable['name']}/values"
        assert len(prometheus.get(path, **{"match[]": metric})["data"]) > 1, variable["name"]


def test_no_rule_has_an_error_and_nothing_fires_on_a_healthy_service(prometheus: Prometheus) -> None:
    wait_until(lambda: all(rule["health"] != "unknown" for rule in prometheus.rules()), 10, "a look at each rule")
    assert [(rule["name"], rule["lastError"]) for rule in prometheus.rules() if rule["health"] != "ok"] == []
    firing = [rule["name"] for rule in prometheus.rules() if rule.get("state") == "firing"]
    assert firing == []

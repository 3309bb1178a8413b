"""The metrics' names, kinds and labels: dashboards and alerts are built on them."""

from __future__ import annotations

import subprocess
import sys

from core.errors import JobError
from core.telemetry.metrics import (
    ApiMetrics,
    DispatcherMetrics,
    WorkerMetrics,
    definitions,
    job_error_codes,
)

PROMISED = """
dispatcher enrich_queue_depth gauge lane
dispatcher enrich_queue_in_flight gauge lane
dispatcher enrich_queue_oldest_seconds gauge lane
dispatcher enrich_jobs gauge lane status
dispatcher enrich_sweeps_total counter outcome
dispatcher enrich_jobs_republished_total counter
dispatcher enrich_jobs_expired_total counter
dispatcher enrich_jobs_poisoned_total counter
dispatcher enrich_webhook_attempts_total counter outcome
dispatcher enrich_webhook_attempt_seconds histogram
dispatcher enrich_webhook_pending gauge
dispatcher enrich_webhook_lag_seconds gauge
dispatcher enrich_webhook_endpoints gauge state
worker enrich_jobs_finished_total counter lane status code
worker enrich_job_seconds histogram lane
worker enrich_stage_seconds histogram stage
worker enrich_batch_size histogram
worker enrich_batch_seconds histogram
worker enrich_jobs_in_progress gauge lane
worker enrich_answers_total counter attribute answer
worker enrich_leases_lost_total counter
worker enrich_bundle_info gauge bundle version taxonomy
worker enrich_gpu_memory_bytes gauge kind
worker enrich_worker_ready_seconds gauge
api enrich_http_requests_total counter method route status
api enrich_http_request_seconds histogram route
api enrich_jobs_accepted_total counter lane kind
api enrich_publish_failed_total counter
api enrich_waiting_requests gauge
api enrich_build_info gauge version process
worker enrich_build_info gauge version process
dispatcher enrich_build_info gauge version process
"""


def test_all_that_is_promised_is_there_and_nothing_else() -> None:
    found = {" ".join([each.process, each.name, each.kind, *each.labels]) for each in definitions()}
    assert found == set(PROMISED.split("\n")) - {""}


def test_each_says_what_it_means_in_a_sentence() -> None:
    for each in definitions():
        assert each.text.endswith("."), each.name
        assert each.name.endswith("_total") == (each.kind == "counter"), each.name


def test_what_is_exposed_has_the_names_that_are_listed() -> None:
    for made in (ApiMetrics(), WorkerMetrics(), DispatcherMetrics()):
        exposed = {(family.name, family.type) for family in made.registry.collectors.collect()}
        for each in made.registry.definitions:
            assert (each.name.removesuffix("_total"), each.kind) in exposed


def test_every_way_to_fail_has_a_series_from_the_start() -> None:
    metrics = WorkerMetrics()
    metrics.create_lane_series("bulk")
    samples = [sample for family in metrics.registry.collectors.collect() for sample in family.samples]
    failed = {each.labels["code"] for each in samples if each.labels.get("status") == "failed"}
    assert failed == set(job_error_codes())
    assert {"poison", "fetch_failed", "not_found"} < failed
    assert JobError.code in failed


def test_importing_the_definitions_makes_none() -> None:
    code = "import core.telemetry.metrics, prometheus_client as p\n"
    code += "print([m for m in p.REGISTRY.collect() if 'enrich' in m.name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

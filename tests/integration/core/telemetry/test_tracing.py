"""Traces: one spans api, worker and dispatcher; strangers get none; a missing extra or collector harms nothing."""

from __future__ import annotations

import contextlib
import gzip
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from api.app import create_app
from api.services import services_of
from core.db.engine import Sessions
from core.settings import Settings, TracingSettings
from core.states import Lane
from core.telemetry.metrics import WorkerMetrics
from core.telemetry.tracing import make_provider
from dispatcher.webhooks.loop import DeliveryLoop
from dispatcher.webhooks.sender import Sender, make_client
from tests.image_server import ImageServer
from tests.ports import free_port
from tests.processes import ROOT, environment, running, stop, wait_for_api, wait_for_file, wait_until
from tests.records import read_job
from tests.webhook_receiver import Receiver, alternating, answer
from tests.webhook_records import statuses
from train.synthetic.tiny import make_tiny_bundle
from worker.runtime import open_consumer

TRACE_ID, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{CALLER}-01"


@pytest.fixture
def kept() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    worker = settings.worker.model_copy(update={"bundle": make_tiny_bundle(tmp_path / "bundle")})
    webhooks = settings.webhooks.model_copy(update={"schedule_s": (0, 0.05), "timeout_s": 5})
    fetch = settings.fetch.model_copy(update={"ports": ()})
    return settings.model_copy(update={"worker": worker, "webhooks": webhooks, "fetch": fetch})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(alternating(answer(503), answer(204))) as receiver:
        yield receiver


class _Shared(SimpleSpanProcessor):
    """Keeps the spans of several processes' parts in one exporter, which none of them closes."""

    def shutdown(self) -> None:
        self.force_flush()


Traced = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def traced(kept: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> Traced:
    """Records spans as the named process would, while a block runs: a real process has one provider for its life."""

    @contextlib.contextmanager
    def record(process: str, sample_ratio: float = 1.0) -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(trace, "_TRACER_PROVIDER", make_provider(_Shared(kept), process, sample_ratio))
            yield

    return record


def post(settings: Settings, url: str, webhook_url: str | None = None, **headers: str) -> uuid.UUID:
    """A job made by the API in this process."""
    app = create_app(settings)
    response = app.test_client().post("/v1/jobs", json={"url": url, "webhook_url": webhook_url}, headers=headers)
    assert response.status_code == 202, response.text
    services_of(app).close()
    return uuid.UUID(response.get_json()["id"])


def work(settings: Settings, job_id: uuid.UUID) -> None:
    with open_consumer(settings, Lane.INTERACTIVE, WorkerMetrics()) as consumer:
        consumer.run([job_id])


@contextlib.contextmanager
def delivering(settings: Settings, sessions: Sessions) -> Iterator[None]:
    client, stopping = make_client(settings), threading.Event()
    delivery_loop = DeliveryLoop(settings.webhooks, sessions, Sender(client, settings.webhooks))
    thread = threading.Thread(target=delivery_loop.run, args=(stopping,))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        delivery_loop.wake()
        thread.join()
        client.close()


def test_one_trace_spans_a_jobs_life(
    settings: Settings, sessions: Sessions, kept: InMemorySpanExporter, traced: Traced, receiver: Receiver
) -> None:
    with ImageServer() as images:
        with traced("api"):
            job_id = post(settings, images.url("/good.jpg"), receiver.url(), traceparent=TRACEPARENT)
        with traced("worker"):
            work(settings, job_id)
        with traced("dispatcher"), delivering(settings, sessions):
            wait_until(lambda: statuses(sessions) == ["delivered"], 30, "the delivery")
    spans = kept.get_finished_spans()
    assert {trace_of(span) for span in spans} == {TRACE_ID}
    by_name = {span.name: span for span in spans}
    request, job = by_name["POST /v1/jobs"], by_name["job"]
    assert parent_of(request) == CALLER
    assert request.attributes
    assert request.attributes["http.response.status_code"] == 202
    assert parent_of(job) == span_id(request)
    assert job.attributes
    assert (job.attributes["enrich.job_id"], job.attributes["enrich.status"]) == (str(job_id), "succeeded")
    for stage in ("fetch", "decode", "predict", "finish"):
        assert parent_of(by_name[stage]) == span_id(job)
    attempts = [span for span in spans if span.name == "webhook attempt"]
    assert [span.attributes["http.response.status_code"] for span in attempts if span.attributes] == [503, 204]
    assert {parent_of(span) for span in attempts} == {span_id(request)}
    services = {span.name: span.resource.attributes["service.name"] for span in spans}
    assert (services["job"], services["webhook attempt"]) == ("enrich-worker", "enrich-dispatcher")


def test_nothing_of_a_trace_goes_to_strangers(
    settings: Settings, sessions: Sessions, kept: InMemorySpanExporter, traced: Traced, receiver: Receiver
) -> None:
    with ImageServer() as images:
        secret = "signature=hush"
        with traced("api"):
            job_id = post(settings, images.url(f"/good.jpg?{secret}"), receiver.url(f"/?{secret}"))
        with traced("worker"):
            work(settings, job_id)
        with traced("dispatcher"), delivering(settings, sessions):
            wait_until(lambda: statuses(sessions) == ["delivered"], 30, "the delivery")
    assert not [name for each in receiver.received for name in each.headers if name.startswith("trace")]
    assert "hush" not in "".join(span.to_json() for span in kept.get_finished_spans())


def test_a_failed_job_says_so_in_its_span(
    settings: Settings, sessions: Sessions, kept: InMemorySpanExporter, traced: Traced
) -> None:
    with ImageServer() as images:
        with traced("api"):
            job_id = post(settings, images.url("/missing"))
        with traced("worker"):
            work(settings, job_id)
    by_name = {span.name: span for span in kept.get_finished_spans()}
    attributes = by_name["job"].attributes or {}
    assert (attributes["enrich.status"], attributes["enrich.code"]) == ("failed", "not_found")
    assert not by_name["fetch"].status.is_ok
    assert read_job(sessions, job_id).status == "failed"


def test_what_is_not_sampled_at_its_beginning_is_nowhere_sampled(
    settings: Settings, kept: InMemorySpanExporter, traced: Traced
) -> None:
    with ImageServer() as images:
        for headers, ratio in (({"traceparent": f"{TRACEPARENT[:-2]}00"}, 1.0), ({}, 0.0)):
            with traced("api", ratio):
                job_id = post(settings, images.url("/good.jpg"), **headers)
            with traced("worker"):
                work(settings, job_id)
    assert kept.get_finished_spans() == ()


@pytest.mark.parametrize("given", ["nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "00-" + "a" * 5000])
def test_a_wrong_traceparent_begins_a_new_trace(
    settings: Settings, sessions: Sessions, kept: InMemorySpanExporter, traced: Traced, given: str
) -> None:
    with traced("api"):
        job_id = post(settings, "https://shop.example/a.jpg", traceparent=given)
    [span] = kept.get_finished_spans()
    assert span.parent is None
    assert (read_job(sessions, job_id).traceparent or "").startswith(f"00-{trace_of(span)}-{span_id(span)}-")


def test_without_tracing_there_is_none(settings: Settings, sessions: Sessions) -> None:
    job_id = post(settings, "https://shop.example/a.jpg", traceparent=TRACEPARENT)
    assert read_job(sessions, job_id).traceparent is None


def trace_of(span: ReadableSpan) -> str:
    assert span.context
    return f"{span.context.trace_id:032x}"


def span_id(span: ReadableSpan) -> str:
    assert span.context
    return f"{span.context.span_id:016x}"


def parent_of(span: ReadableSpan) -> str | None:
    return f"{span.parent.span_id:016x}" if span.parent else None


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP, as a collector does; `spans` is (service, name) of all that came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Intake)
        self.spans: list[tuple[str, str]] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1/traces"


class _Intake(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {each.key: each.value.string_value for each in group.resource.attributes}
            self.server.spans += [(named["service.name"], span.name) for of in group.scope_spans for span in of.spans]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_processes_send_to_a_collector_and_at_their_end_what_is_left(
    settings: Settings, collector: Collector, tmp_path: Path
) -> None:
    port = free_port()
    own = settings.model_copy(
        update={
            "api": settings.api.model_copy(update={"port": port}),
            "tracing": TracingSettings(endpoint=collector.endpoint),
            "worker": settings.worker.model_copy(update={"heartbeat_file": tmp_path / "heartbeat"}),
        }
    )
    with (
        ImageServer() as images,
        running(own, "worker", "--lane", "interactive", log=tmp_path / "worker.log") as worker,
        running(own, "api", log=tmp_path / "api.log"),
    ):
        wait_for_api(f"http://127.0.0.1:{port}")
        wait_for_file(tmp_path / "heartbeat", worker)
        with urllib3.PoolManager() as http:
            body = {"url": images.url("/good.jpg")}
            response = http.request(
                "POST", f"http://127.0.0.1:{port}/v1/jobs", json=body, headers={"Prefer": "wait=30"}
            )
            assert response.json()["status"] == "succeeded"
        assert stop(worker) == 0
    wanted = {("enrich-api", "POST /v1/jobs"), ("enrich-worker", "job"), ("enrich-worker", "predict")}
    wait_until(lambda: wanted <= set(collector.spans), 20, f"the spans, there are {collector.spans}")


def test_a_collector_that_is_away_holds_nobody(settings: Settings, tmp_path: Path) -> None:
    heartbeat = tmp_path / "heartbeat"
    own = settings.model_copy(
        update={
            "tracing": TracingSettings(endpoint="http://127.0.0.1:1/v1/traces"),
            "dispatcher": settings.dispatcher.model_copy(update={"heartbeat_file": heartbeat}),
        }
    )
    with Receiver() as receiver:
        job_id = post(settings, "http://127.0.0.1:1/a.jpg", receiver.url())
        with running(own, "dispatcher", log=tmp_path / "log") as dispatcher:
            wait_for_file(heartbeat, dispatcher)
            cancel(settings, job_id)
            wait_until(lambda: bool(receiver.received), 20, "the webhook")
            began = time.monotonic()
            assert stop(dispatcher) == 0
            assert time.monotonic() - began < 12


def cancel(settings: Settings, job_id: uuid.UUID) -> None:
    app = create_app(settings)
    assert app.test_client().post(f"/v1/jobs/{job_id}/cancel").status_code == 200
    services_of(app).close()


@pytest.mark.parametrize("command", [["dispatcher"], ["api"], ["worker"], ["worker", "--lane", "bulk"], ["up"]])
def test_without_the_extra_the_start_says_what_to_install(settings: Settings, command: list[str]) -> None:
    own = settings.model_copy(update={"tracing": TracingSettings(endpoint="http://127.0.0.1:1/v1/traces")})
    code = f"import sys; sys.modules['opentelemetry.sdk'] = None; sys.argv[1:] = {command!r}\n"
    code += "from cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(own), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "`pip install 'asset-enrichment[tracing]'`" in done.stderr
    assert "Traceback" not in done.stderr

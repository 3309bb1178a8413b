"""One real worker process that meets everything: all formats, all kinds of bad input, repeats and cancels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer

from core.db.engine import Sessions, make_engine, make_sessions
from core.db.models import LOCAL_OWNER
from core.jobs import lifecycle
from core.jobs.queries import get_job
from core.jobs.queue import Publisher
from core.settings import (
    FetchSettings,
    JobSettings,
    S3Settings,
    Settings,
)
from core.states import Status
from core.storage.s3 import make_s3_client
from tests import pictures
from tests.conftest import NewSettings
from tests.image_server import ImageServer
from tests.integration.worker.conftest import StartWorker
from tests.processes import wait_until
from tests.records import METADATA, new_job, open_jobs, outcomes, read_job

IMPATIENT = FetchSettings(
    allow_networks=("127.0.0.0/8",),
    allow_s3=("shop", "no-such-bucket"),
    connect_timeout_s=1,
    read_timeout_s=1,
    total_timeout_s=2,
    max_bytes=2**20,
)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Settings]:
    """An S3 service with the bucket `shop`, in which lies shirt.jpg."""
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    own = S3Settings.model_validate(
        {"endpoint_url": f"http://{host}:{port}", "access_key_id": "test", "secret_access_key": "test"}
    )
    client = make_s3_client(own)
    client.create_bucket(Bucket="shop")
    client.put_object(Bucket="shop", Key="shirt.jpg", Body=pictures.jpeg())
    yield own
    server.stop()


@pytest.fixture(scope="module")
def settings(
    new_settings: NewSettings,
    tmp_path_factory: pytest.TempPathFactory,
    s3: S3Settings,
    start_worker: StartWorker,
) -> Iterator[Settings]:
    """Impatient settings, with a worker that runs on them through all tests of this module."""
    with new_settings(tmp_path_factory.mktemp("service")) as settings:
        own = {"fetch": IMPATIENT, "jobs": JobSettings(max_retries=0), "s3": s3}
        settings = settings.model_copy(update=own)
        with start_worker(settings):
            yield settings


@pytest.fixture(scope="module")
def sessions(settings: Settings) -> Iterator[Sessions]:
    engine = make_engine(settings)
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture(scope="module")
def publisher(settings: Settings) -> Iterator[Publisher]:
    publisher = Publisher(settings)
    yield publisher
    publisher.close()


def wait_until_done(sessions: Sessions) -> None:
    wait_until(lambda: open_jobs(sessions) == 0, 60, "all jobs to end")


WEB = {
    "/missing": "not_found",
    "/status/410": "not_found",
    "/status/401": "access_denied",
    "/status/403": "access_denied",
    "/status/418": "fetch_failed",
    "/status/500": "fetch_failed",
    "/status/429": "fetch_failed",
    "/silent": "fetch_timeout",
    "/drip": "fetch_timeout",
    "/drip-headers": "fetch_timeout",
    "/loop/a": "fetch_failed",
    "/redirect/9": "fetch_failed",
    "/redirect-to?http://169.254.169.254/latest/meta-data/": "fetch_blocked",
    "/html": "unsupported_media_type",
    "/lying-length": "fetch_failed",
    "/truncated": "image_undecodable",
    "/huge/length": "image_too_large",
    "/huge/stream": "image_too_large",
    "/reset": "fetch_failed",
    "/good.jpg": "succeeded",
    "/wrong-type": "succeeded",
    "/redirect/2": "succeeded",
}
ELSEWHERE = {
    "http://127.0.0.1:1/closed.jpg": "fetch_failed",
    "http://no-such-host.invalid/shirt.jpg": "fetch_failed",
    "http://10.11.12.13/inside.jpg": "fetch_blocked",
    "s3://not-allowed/shirt.jpg": "fetch_blocked",
    "s3://no-such-bucket/shirt.jpg": "not_found",
    "s3://shop/no-such-key.jpg": "not_found",
    "s3://shop/shirt.jpg": "succeeded",
}


def test_each_bad_input_fails_under_its_code_and_each_good_one_succeeds(
    sessions: Sessions, publisher: Publisher, images: ImageServer
) -> None:
    expected = {images.url(path): code for path, code in WEB.items()} | ELSEWHERE
    expected |= {images.url(f"/picture/{name}"): code for name, (_, code) in pictures.BAD.items()}
    expected |= {images.url(f"/picture/{name}"): "succeeded" for name in pictures.GOOD}
    expected |= {images.url("/picture/empty"): "fetch_failed"}  # not there yet
    jobs = {address: new_job(sessions, publisher, address).id for address in expected}
    wait_until_done(sessions)
    assert dict(zip(jobs, outcomes(sessions, list(jobs.values())), strict=True)) == expected


def test_an_answer_is_complete(sessions: Sessions, publisher: Publisher, images: ImageServer) -> None:
    job = new_job(sessions, publisher, images.url("/picture/jpeg_orientation_6?signature=secret"))
    wait_until_done(sessions)
    with sessions() as session:
        document = get_job(session, LOCAL_OWNER, job.id)
    assert document["status"] == Status.SUCCEEDED
    assert list(document["metadata"]) == list(METADATA)
    assert document["asset"]["url"] == images.url("/picture/jpeg_orientation_6")
    assert (document["asset"]["width"], document["asset"]["height"]) == (pictures.WIDTH, pictures.HEIGHT)
    assert document["model"] == {"bundle": "tiny", "version": "0.0.1", "taxonomy": "tiny-1"}
    assert list(document["predictions"]) == list(METADATA)[:-1]
    assert document["timings"]["batch_size"] >= 0


def test_the_same_bytes_are_answered_without_the_model_but_never_across_owners(
    sessions: Sessions, publisher: Publisher, images: ImageServer
) -> None:
    sizes = []
    for owner_id in ("one", "one", "another"):
        job = new_job(sessions, publisher, images.url("/good.jpg"), owner_id=owner_id)
        wait_until_done(sessions)
        with sessions() as session:
            sizes.append(get_job(session, owner_id, job.id)["timings"]["batch_size"])
    assert sizes == [1, 0, 1]


def test_a_canceled_job_stays_canceled(sessions: Sessions, publisher: Publisher, images: ImageServer) -> None:
    job = new_job(sessions, publisher, images.url("/silent?canceled"))
    wait_until(lambda: read_job(sessions, job.id).status == Status.PROCESSING, 20, "the job to be claimed")
    with sessions.begin() as session:
        assert lifecycle.cancel(session, LOCAL_OWNER, job.id)
    # The worker gives the address up within two seconds; whatever it then writes must not count.
    after = new_job(sessions, publisher, images.url("/silent?after"))
    wait_until(lambda: read_job(sessions, after.id).status == Status.FAILED, 20, "a later job to fail")
    row = read_job(sessions, job.id)
    assert (row.status, row.error, row.current_result_id) == (Status.CANCELED, None, None)

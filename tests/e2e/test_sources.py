"""`enrich predict` and `enrich submit` on files, folders, addresses and lists: the same order, documents and codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core.db.engine import Sessions
from core.db.models import Job
from core.net.urls import redact_url
from core.settings import Settings
from tests import pictures
from tests.image_server import ImageServer
from tests.integration.core.auth.test_api_keys import make_key
from tests.ports import free_port
from tests.processes import running, wait_for_api
from train.synthetic.tiny import make_tiny_bundle

LOOPBACK = {"ENRICH_FETCH__ALLOW_NETWORKS": '["127.0.0.0/8"]'}
LIMIT = {"ENRICH_FETCH__MAX_BYTES": "20000"}


def enrich(
    *arguments: str | Path, folder: Path, given: bytes = b"", **variables: str
) -> tuple[list[dict[str, Any]], int, str]:
    """Runs the command in a folder, and returns its documents, exit status and standard error."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ENRICH_")}
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *map(str, arguments)],
        cwd=folder,
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)} | LIMIT | variables,
        input=given,
        capture_output=True,
        check=False,
    )
    return [json.loads(line) for line in done.stdout.splitlines()], done.returncode, done.stderr.decode()


def codes(documents: list[dict[str, Any]]) -> list[str | None]:
    return [(document.get("error") or {}).get("code") for document in documents]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"ENRICH_WORKER__BUNDLE": str(make_tiny_bundle(tmp_path_factory.mktemp("bundle")))}


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with ImageServer() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A place with a folder of pictures, and files that cannot be taken."""
    for name, data in {
        "shop/b.jpg": pictures.jpeg(),
        "shop/a/1.png": pictures.encoded(pictures.drawn(), "PNG"),
        "shop/notes.txt": b"notes",
        "shop/.cache/x.jpg": pictures.jpeg(),
        "empty/.keep": b"",
        "hemd blau.jpg": pictures.jpeg(),
        "big.jpg": pictures.jpeg() + bytes(20_000),
        "empty.jpg": b"",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


REFUSED = {
    "missing.jpg": "not_found",
    "www.shop.example/x.jpg": "not_found",
    "big.jpg": "image_too_large",
    "empty.jpg": "image_undecodable",
    "empty": "not_found",
    "": "not_found",
    "data:image/png;base64," + "A" * 70_000: "invalid_address",
    "http:shop.example/x.jpg": "invalid_address",
    "htps://shop.example/x.jpg?sig=1": "invalid_address",
    "gs://bucket/x.jpg": "invalid_address",
    "ftp://shop.example/x.jpg": "invalid_address",
    "https://xn--a.example/x.jpg": "invalid_address",
    "upload://local/ab/" + "ab" * 32: "invalid_address",
    "s3://x": "invalid_address",
}


def test_predict_answers_files_folders_and_addresses_in_order(
    folder: Path, server: ImageServer, bundle: dict[str, str]
) -> None:
    addresses = [
        server.url(path) for path in ("/good.jpg?sig=1", "/status/404", "/status/403", "/html", "/huge/length")
    ]
    refused = ["https://nothing.invalid/x", "http://169.254.169.254/latest"]
    documents, status, notes = enrich(
        "predict", f" {addresses[0]}\n", "shop", "hemd blau.jpg", *addresses[1:], *refused, "missing.jpg",
        folder=folder, **bundle, **LOOPBACK,
    )  # fmt: skip

    named = [document.get("file") or document["url"] for document in documents]
    files = ["shop/a/1.png", "shop/b.jpg", "hemd blau.jpg"]
    assert named == [redact_url(addresses[0]), *files, *addresses[1:], *refused, "missing.jpg"]
    assert codes(documents) == [None] * 4 + [
        "not_found",
        "access_denied",
        "unsupported_media_type",
        "image_too_large",
        "fetch_failed",
        "fetch_blocked",
        "not_found",
    ]
    assert all(document["predictions"] and document["model"] for document in documents[:4])
    assert documents[0]["predictions"] == documents[2]["predictions"]
    assert status == 1
    assert notes == "enrich: shop: skipped 1 file that is not a picture, such as shop/notes.txt\n"


def test_predict_reaches_no_address_that_a_worker_may_not(
    folder: Path, server: ImageServer, bundle: dict[str, str]
) -> None:
    documents, status, _ = enrich(
        "predict", server.url("/good.jpg"), "s3://shop-photos/a.jpg", "hemd blau.jpg", folder=folder, **bundle
    )

    assert codes(documents) == ["fetch_blocked", "fetch_blocked", None]
    assert (status, server.connections) == (1, 0)


def test_predict_takes_lists(folder: Path, server: ImageServer, bundle: dict[str, str]) -> None:
    (folder / "list.txt").write_bytes(b'\xef\xbb\xbf"hemd blau.jpg"\r\n\r\n  shop\t\r\n')
    documents, status, _ = enrich(
        "predict", "-", "shop/b.jpg", "--from", "list.txt",
        folder=folder, given=f"<{server.url('/good.jpg')}>\n".encode(), **bundle, **LOOPBACK,
    )  # fmt: skip

    named = [document.get("file") or document["url"] for document in documents]
    assert named == [server.url("/good.jpg"), "shop/b.jpg", "hemd blau.jpg", "shop/a/1.png", "shop/b.jpg"]
    assert (codes(documents), status) == ([None] * 5, 0)


def test_submit_sends_what_predict_answers(folder: Path, sessions: Sessions, api_base: str) -> None:
    documents, status, notes = enrich(
        "submit", "--api", api_base, " https://straße.example/a b.jpg\n", "shop", "missing.jpg", "hemd blau.jpg",
        folder=folder,
    )  # fmt: skip

    assert codes(documents) == [None, None, None, "not_found", None]
    assert documents[3] | {"error": {}} == {"file": "missing.jpg", "source": "missing.jpg", "error": {}}
    assert documents[0]["asset"]["url"] == "https://xn--strae-oqa.example/a%20b.jpg"
    assert status == 1
    assert notes == "enrich: shop: skipped 1 file that is not a picture, such as shop/notes.txt\n"
    with sessions() as session:
        created = [str(job_id) for job_id in session.scalars(select(Job.id).order_by(Job.created_at))]
    assert created == [each["id"] for each in documents if "id" in each]


def test_both_refuse_with_the_same_documents(folder: Path, api_base: str, bundle: dict[str, str]) -> None:
    predicted = enrich("predict", *REFUSED, folder=folder, **bundle)
    submitted = enrich("submit", "--api", api_base, *REFUSED, folder=folder)

    assert dict(zip(REFUSED, codes(predicted[0]), strict=True)) == REFUSED
    assert submitted == predicted
    assert [document["source"] for document in predicted[0]] == list(REFUSED)


def test_submit_waits_for_the_rate_limit(folder: Path, settings: Settings, sessions: Sessions, tmp_path: Path) -> None:
    limited = {"require_key": True, "rate_per_s": 1, "rate_burst": 1, "port": free_port()}
    settings = settings.model_copy(update={"api": settings.api.model_copy(update=limited)})
    base = f"http://127.0.0.1:{settings.api.port}"
    with running(settings, "api", log=tmp_path / "api.log"):
        wait_for_api(base)
        documents, status, _ = enrich(
            "submit", "--api", base, "shop", "hemd blau.jpg", folder=folder, ENRICH_API_KEY=make_key(sessions)
        )

    assert (codes(documents), status) == ([None] * 3, 0)


def test_submit_accepts_an_external_id_for_one_image_only(folder: Path, api_base: str) -> None:
    many = enrich("submit", "--api", api_base, "--external-id", "sku-1", "shop", folder=folder)
    one = enrich("submit", "--api", api_base, "--external-id", "sku-1", "shop/a", folder=folder)

    assert (many[0], many[1]) == ([], 2)
    assert "--external-id requires a single source" in many[2]
    assert [document["external_id"] for document in one[0]] == ["sku-1"]


@pytest.mark.parametrize("command", ["predict", "submit"])
def test_without_a_source_the_usage_is_shown(command: str, tmp_path: Path) -> None:
    documents, status, said = enrich(command, folder=tmp_path)
    assert (documents, status) == ([], 2)
    assert "at least one file, folder or address" in said

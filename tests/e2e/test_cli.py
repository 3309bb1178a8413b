"""The `enrich` command: local predictions, invalid settings, missing extras, and lazy imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from model.answer import METADATA_KEYS
from tests import pictures
from tests.processes import ROOT
from train.synthetic.tiny import make_tiny_bundle


def enrich(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ENRICH_")}
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *map(str, arguments)],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"))


def test_predict_answers_good_files_and_reports_bad_ones(bundle: Path, tmp_path: Path) -> None:
    good, broken, missing = tmp_path / "good.jpg", tmp_path / "broken.jpg", tmp_path / "missing.jpg"
    good.write_bytes(pictures.jpeg())
    broken.write_bytes(b"<html>")

    (tmp_path / "empty").mkdir()
    done = enrich("predict", broken, good, missing, tmp_path / "empty", ENRICH_WORKER__BUNDLE=str(bundle))

    documents = [json.loads(line) for line in done.stdout.splitlines()]
    assert [document["file"] for document in documents] == [
        str(path) for path in (broken, good, missing, tmp_path / "empty")
    ]
    codes = [document.get("error", {}).get("code") for document in documents]
    assert codes == ["unsupported_media_type", None, "not_found", "not_found"]
    assert tuple(documents[1]["metadata"]) == METADATA_KEYS
    assert documents[1]["model"] == {"bundle": "tiny", "version": "0.0.1", "taxonomy": "tiny-1"}
    assert documents[1]["predictions"].keys() < {*METADATA_KEYS}
    assert done.returncode == 1


def test_predict_without_a_bundle_is_one_sentence(tmp_path: Path) -> None:
    done = enrich("predict", tmp_path / "any.jpg", "--bundle", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("enrich: ")
    assert len(done.stderr.splitlines()) == 1


def test_an_invalid_setting_is_named_without_a_traceback() -> None:
    done = enrich("dispatcher", ENRICH_DATABASE__POOL_SIZE="many")
    assert done.returncode == 2
    assert "database.pool_size" in done.stderr
    assert "Traceback" not in done.stderr


def test_submit_reports_an_unreachable_api() -> None:
    done = enrich("submit", "https://example.com/shirt.jpg", "--api", "http://127.0.0.1:9")
    document = json.loads(done.stdout)
    assert (done.returncode, document["error"]["code"]) == (1, "api_unreachable")


def test_the_help_loads_no_heavy_packages() -> None:
    code = "import sys, cli.main; print(sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "sqlalchemy", "celery", "pydantic", "flask", "core"} & set(
        json.loads(done.stdout.replace("'", '"'))
    )
    assert "predict" in enrich("--help").stdout


@pytest.mark.parametrize(("command", "package"), [("worker --lane bulk", "celery"), ("api", "apiflask")])
def test_a_missing_extra_is_reported_in_one_sentence(command: str, package: str) -> None:
    """The API's image contains no worker, and the worker's image no API."""
    code = f"import sys, cli.main; sys.modules[{package!r}] = None; sys.argv[1:] = {command.split()!r}; cli.main.main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"enrich: this command requires the package {package}, which is not installed")
    assert len(done.stderr.splitlines()) == 1

"""What each answer of a store becomes, the caller's error or ours; and that `s3` and `https` read the same alike."""

from __future__ import annotations

import gzip
import sys
import tempfile

import pytest
from pydantic import SecretStr

from core import errors
from core.net.http import GuardedClient
from core.settings import FetchSettings, S3Settings, Settings, StorageSettings
from core.storage.uploads import S3Storage, open_storage
from tests.odd_answers import ENCODINGS, JPEG, http
from tests.odd_server import OddServer
from worker.image.fetch import Fetcher

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore")

_GZIP = gzip.compress(JPEG)
_CHUNKED = http(
    *("Content-Encoding: gzip", "Transfer-Encoding: chunked"),
    body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(_GZIP), _GZIP),
    length=None,
)
UPLOAD = "local/ab/ab" + "0" * 62
_UNAVAILABLE, _DENIED, _MISSING = errors.StorageUnavailable, errors.AccessDenied, errors.NotFound


def s3_error(code: str, status: int) -> bytes:
    body = f"""<?xml version="1.0"?><Error><Code>{code}</Code><Message>arn:aws:iam::123456789012:user/x at
        store.internal</Message><Region>eu-1</Region><HostId>store.internal</HostId></Error>"""
    return http("Content-Type: application/xml", status=f"HTTP/1.1 {status} No", body=body.encode())


def settings_for(server: OddServer, **changes: object) -> S3Settings:
    known = {
        "endpoint_url": f"http://127.0.0.1:{server.port}",
        "access_key_id": SecretStr("test"),
        "secret_access_key": SecretStr("test"),
        "max_attempts": 1,
    }
    return S3Settings.model_validate(known | changes)


CALLERS = [
    ("NoSuchKey", 404, _MISSING),
    ("NoSuchVersion", 404, _MISSING),
    ("NoSuchBucket", 404, _MISSING),
    ("InvalidBucketName", 400, _MISSING),
    ("KeyTooLongError", 400, _MISSING),
    ("KMS.DisabledException", 400, _DENIED),
    ("AccessDenied", 403, _DENIED),
    ("AllAccessDisabled", 403, _DENIED),
    ("InvalidObjectState", 403, _DENIED),
    ("SomethingNew", 403, _DENIED),
    ("SomethingNew", 404, _MISSING),
]
OURS = [
    ("RequestTimeTooSkewed", 403, "clock"),
    ("RequestExpired", 400, "clock"),
    ("ExpiredToken", 400, "token"),
    ("InvalidToken", 400, "token"),
    ("TokenRefreshRequired", 400, "token"),
    ("InvalidAccessKeyId", 403, "ENRICH_S3__ACCESS_KEY_ID"),
    ("SignatureDoesNotMatch", 403, "ENRICH_S3__SECRET_ACCESS_KEY"),
    ("Unauthorized", 401, "ENRICH_S3__ACCESS_KEY_ID"),
    ("SomethingNew", 401, "ENRICH_S3__ACCESS_KEY_ID"),
    ("AuthorizationHeaderMalformed", 400, "ENRICH_S3__REGION"),
    ("PermanentRedirect", 301, "ENRICH_S3__REGION"),
    ("TemporaryRedirect", 307, "ENRICH_S3__REGION"),
    ("SlowDown", 503, "."),
    ("InternalError", 500, "."),
    ("SomethingNew", 400, "."),
]


@pytest.fixture(scope="module")
def store():
    """A server with an object for each error and each encoding, and a fetcher that reads it."""
    answers = {f"/photos/{code}-{status}": s3_error(code, status) for code, status, _ in [*CALLERS, *OURS]}
    answers |= {f"/photos/{name}": odd.answer for name, odd in ENCODINGS.items()}
    answers |= {"/photos/empty": http(body=b""), "/photos/chunked": _CHUNKED}
    # Otherwise boto3 could use a connection that the server is about to close.
    closing = {path: raw.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) for path, raw in answers.items()}
    with OddServer(closing) as server, tempfile.TemporaryDirectory() as folder:
        fetcher, client = _fetcher(settings_for(server), folder)
        yield server, fetcher
        client.close()


@pytest.mark.parametrize(("code", "status", "error"), CALLERS)
def test_errors_of_callers_are_final(store, code, status, error):
    caught = _read(store, code, status)
    assert type(caught) is error
    assert not caught.retryable


@pytest.mark.parametrize(("code", "status", "says"), OURS)
def test_errors_of_ours_are_tried_again(store, code, status, says):
    caught = _read(store, code, status)
    assert type(caught) is _UNAVAILABLE
    assert caught.retryable
    assert says in caught.message


def _read(store, code: str, status: int) -> errors.JobError:
    server, fetcher = store
    with pytest.raises(errors.JobError) as caught:
        fetcher.fetch(f"s3://photos/{code}-{status}", is_upload=False)
    for secret in ("internal", "123456789012", "127.0.0.1", str(server.port)):
        assert secret not in caught.value.message
    return caught.value


def test_the_log_names_the_store_s_code(store, capsys):
    _read(store, "SignatureDoesNotMatch", 403)
    assert "code=SignatureDoesNotMatch" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("NoSuchKey", 404, _MISSING),
        ("NoSuchBucket", 404, _UNAVAILABLE),
        ("AccessDenied", 403, _UNAVAILABLE),
        ("InvalidAccessKeyId", 403, _UNAVAILABLE),
    ],
)
def test_a_closed_or_missing_bucket_of_uploads_is_ours(code, status, error):
    with OddServer({f"/enrich/uploads/{UPLOAD}": s3_error(code, status)}) as server:
        storage = S3Storage(StorageSettings(kind="s3"), settings_for(server))
        with pytest.raises(errors.JobError) as caught:
            storage.get(f"s3://enrich/uploads/{UPLOAD}", 100)
        storage.client.close()
    assert type(caught.value) is error


@pytest.fixture
def no_credentials(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"access_key_id": None, "secret_access_key": None}, "ENRICH_S3__ACCESS_KEY_ID"),
        ({"secret_access_key": None}, "ENRICH_S3__SECRET_ACCESS_KEY"),
        ({"endpoint_url": "store:9000"}, "ENRICH_S3__ENDPOINT_URL"),
        ({"region": "not a region!"}, "ENRICH_S3__REGION"),
    ],
)
@pytest.mark.usefixtures("no_credentials")
def test_wrong_settings_are_not_tried_again(changes, says, tmp_path):
    with OddServer({}) as server:
        caught = _fetch_error(settings_for(server, **changes), tmp_path)
        assert server.requests == []
    assert type(caught) is errors.StorageMisconfigured
    assert (caught.code, caught.retryable) == ("storage_unavailable", False)
    assert says in caught.message


@pytest.mark.usefixtures("no_credentials")
def test_an_unknown_profile_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with OddServer({}) as server:
        caught = _fetch_error(settings_for(server), tmp_path)
    assert type(caught) is errors.StorageMisconfigured
    assert "AWS_PROFILE" in caught.message


@pytest.mark.usefixtures("no_credentials")
def test_credentials_that_cannot_be_loaded_are_tried_again(monkeypatch, tmp_path):
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {sys.executable} -c exit(1)\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with OddServer({}) as server:
        caught = _fetch_error(settings_for(server, access_key_id=None, secret_access_key=None), tmp_path)
    assert type(caught) is errors.StorageUnavailable
    assert "credentials" in caught.message


def test_a_store_without_tls_is_tried_again(tmp_path):
    with OddServer({}) as server:
        caught = _fetch_error(settings_for(server, endpoint_url=f"https://127.0.0.1:{server.port}"), tmp_path)
    assert type(caught) is errors.StorageUnavailable
    assert "ENRICH_S3__ENDPOINT_URL" in caught.message


def _fetch_error(s3: S3Settings, folder) -> errors.JobError:
    fetcher, client = _fetcher(s3, folder)
    with pytest.raises(errors.JobError) as caught:
        fetcher.fetch("s3://photos/a.jpg", is_upload=False)
    client.close()
    return caught.value


def _fetcher(s3: S3Settings, folder) -> tuple[Fetcher, GuardedClient]:
    fetch = FetchSettings(allow_s3=("*",), allow_networks=("127.0.0.0/8",), max_bytes=1024 * 1024)
    settings = Settings(fetch=fetch, s3=s3, storage=StorageSettings(folder=folder))
    client = GuardedClient(settings.fetch)
    return Fetcher(settings, open_storage(settings), client), client


# In these two, urllib3 or botocore ends the read itself, with a retryable error.
@pytest.mark.parametrize("name", sorted(ENCODINGS.keys() - {"gzip-of-announced-length", "gzip-nine-times"}))
def test_s3_and_https_read_an_object_alike(store, name):
    server, fetcher = store
    by_https, by_s3 = (_outcome(fetcher, address) for address in (server.url(f"/photos/{name}"), f"s3://photos/{name}"))
    assert by_https == by_s3


def _outcome(fetcher: Fetcher, address: str) -> object:
    try:
        return fetcher.fetch(address, is_upload=False).body
    except errors.JobError as error:
        return type(error), error.message


def test_an_empty_object_is_not_there_yet(store):
    with pytest.raises(errors.FetchFailed, match="not there yet"):
        store[1].fetch("s3://photos/empty", is_upload=False)


def test_an_object_of_unknown_length_is_read(store):
    assert store[1].fetch("s3://photos/chunked", is_upload=False).body == JPEG

"""Uploads in a folder and in a bucket of a real S3 server (moto's), by the same rules."""

from __future__ import annotations

import threading

import pytest
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from core.errors import (
    AccessDenied,
    ImageTooLarge,
    NotFound,
    StorageUnavailable,
)
from core.settings import (
    FetchSettings,
    S3Settings,
    Settings,
    StorageSettings,
)
from core.storage.s3 import make_s3_client
from core.storage.uploads import FolderStorage, S3Storage, open_storage

DATA = b"the bytes of a picture"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore", "ignore::DeprecationWarning:moto")


def s3_settings(port: int) -> S3Settings:
    return S3Settings(
        endpoint_url=f"http://127.0.0.1:{port}",
        access_key_id=SecretStr("test"),
        secret_access_key=SecretStr("test"),
        connect_timeout_s=1,
        read_timeout_s=5,
        max_attempts=1,
    )


@pytest.fixture(scope="module")
def s3():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    settings = s3_settings(server.get_host_and_port()[1])
    client = make_s3_client(settings)
    client.create_bucket(Bucket="enrich")
    client.close()
    yield settings
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def storage(request, tmp_path):
    if request.param == "folder":
        yield open_storage(Settings(storage=StorageSettings(folder=tmp_path / "uploads")))
        return
    settings = Settings(storage=StorageSettings(kind="s3"), s3=request.getfixturevalue("s3"))
    made = open_storage(settings)
    assert isinstance(made, S3Storage)
    yield made
    made.client.close()


def test_what_is_put_can_be_got_and_deleted(storage):
    address = storage.put(DATA, owner_id="local", content_type="image/jpeg")

    assert storage.is_own(address)
    assert storage.get(address, len(DATA)) == DATA
    storage.delete(address)
    storage.delete(address)
    with pytest.raises(NotFound):
        storage.get(address, 100)


def test_address_tells_owner_and_content(storage):
    address = storage.put(DATA, owner_id="a", content_type=None)

    assert storage.put(DATA, owner_id="a", content_type=None) == address
    assert storage.put(DATA, owner_id="b", content_type=None) != address
    assert storage.put(DATA + b"!", owner_id="a", content_type=None) != address


def test_limit_of_bytes_holds(storage):
    address = storage.put(DATA, owner_id="local", content_type=None)

    with pytest.raises(ImageTooLarge):
        storage.get(address, len(DATA) - 1)


def test_ready_when_it_can_be_written(storage):
    storage.check()


@pytest.mark.parametrize(
    "address",
    [
        "upload://../etc/passwd",
        "upload:///etc/passwd",
        "upload://local/../../x",
        "upload://local/ab/abcd",
        "upload://local/ab/" + "a" * 64 + "/x",
        "s3://enrich/other/local/ab/" + "a" * 64,
        "s3://enrich/uploads/../secret",
        "s3://elsewhere/uploads/local/ab/" + "a" * 64,
        "https://shop.example/a.jpg",
        "/etc/passwd",
        "",
    ],
)
def test_other_addresses_are_not_its_own(storage, address):
    assert not storage.is_own(address)
    with pytest.raises(AccessDenied):
        storage.get(address, 100)
    with pytest.raises(AccessDenied):
        storage.delete(address)


@pytest.mark.parametrize("owner", ["", "..", "a/b", "../x", ".hidden", "a\x00"])
def test_owner_ids_cannot_leave_the_folder(storage, owner):
    with pytest.raises(ValueError, match="owner"):
        storage.put(DATA, owner_id=owner, content_type=None)


def test_folder_holds_whole_files_only(tmp_path):
    storage = FolderStorage(tmp_path)
    threads = [
        threading.Thread(target=storage.put, args=(DATA,), kwargs={"owner_id": "local", "content_type": None})
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [file.read_bytes() for file in files] == [DATA]
    assert files[0].parent.name == files[0].name[:2]


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    storage = FolderStorage(tmp_path / "file" / "uploads")

    with pytest.raises(StorageUnavailable):
        storage.check()
    with pytest.raises(StorageUnavailable):
        storage.put(DATA, owner_id="local", content_type=None)


def test_s3_keeps_the_content_type(s3):
    storage = S3Storage(StorageSettings(kind="s3"), s3)
    key = storage.put(DATA, owner_id="local", content_type="image/webp").removeprefix("s3://enrich/")

    assert storage.client.head_object(Bucket="enrich", Key=key)["ContentType"] == "image/webp"
    storage.client.close()


def test_s3_without_the_bucket(s3):
    storage = S3Storage(StorageSettings(kind="s3", bucket="missing"), s3)
    with pytest.raises(StorageUnavailable, match="ENRICH_STORAGE__BUCKET"):
        storage.check()
    with pytest.raises(StorageUnavailable, match="ENRICH_STORAGE__BUCKET"):
        storage.put(DATA, owner_id="local", content_type=None)
    with pytest.raises(StorageUnavailable, match="ENRICH_STORAGE__BUCKET"):
        storage.get("s3://missing/uploads/local/ab/ab" + "0" * 62, 100)
    storage.client.close()


def test_s3_that_is_down():
    storage = S3Storage(StorageSettings(kind="s3"), s3_settings(9))
    with pytest.raises(StorageUnavailable) as caught:
        storage.check()
    assert "127.0.0.1" not in caught.value.message
    storage.client.close()


def test_opening_touches_nothing(tmp_path):
    open_storage(Settings(storage=StorageSettings(folder=tmp_path / "new"), fetch=FetchSettings()))
    open_storage(Settings(storage=StorageSettings(kind="s3"), s3=s3_settings(9)))

    assert not (tmp_path / "new").exists()

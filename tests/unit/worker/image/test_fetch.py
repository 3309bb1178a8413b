"""Where a job's picture may come from: the web, allowed buckets, its own upload; never another owner's upload."""

from __future__ import annotations

import pytest
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from core.errors import (
    AccessDenied,
    FetchBlocked,
    ImageTooLarge,
    NotFound,
    StorageUnavailable,
)
from core.net.http import GuardedClient
from core.settings import (
    FetchSettings,
    S3Settings,
    Settings,
    StorageSettings,
)
from core.storage.s3 import make_s3_client
from core.storage.uploads import open_storage
from tests import pictures
from tests.image_server import ImageServer
from worker.image.fetch import Fetcher

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore", "ignore::DeprecationWarning:moto")


@pytest.fixture(scope="module")
def s3():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    settings = S3Settings(
        endpoint_url=f"http://127.0.0.1:{server.get_host_and_port()[1]}",
        access_key_id=SecretStr("test"),
        secret_access_key=SecretStr("test"),
        max_attempts=1,
    )
    client = make_s3_client(settings)
    for bucket in ("enrich", "shop-photos", "private"):
        client.create_bucket(Bucket=bucket)
    for bucket, key in (("shop-photos", "2026/a.jpg"), ("shop-photos", "2025/a.jpg"), ("private", "a.jpg")):
        client.put_object(Bucket=bucket, Key=key, Body=pictures.jpeg(), ContentType="image/jpeg")
    client.put_object(Bucket="shop-photos", Key="2026/big", Body=bytes(200_000))
    client.close()
    yield settings
    server.stop()


@pytest.fixture
def fetcher_with(s3, tmp_path):
    opened = []

    def make(kind="s3", **fetch):
        settings = Settings(
            storage=StorageSettings(kind=kind, folder=tmp_path),
            s3=s3,
            fetch=FetchSettings(allow_networks=("127.0.0.0/8",), max_bytes=100_000, **fetch),
        )
        client, storage = GuardedClient(settings.fetch), open_storage(settings)
        opened.append(client)
        return Fetcher(settings, storage, client), storage

    yield make
    for client in opened:
        client.close()


def test_web_address(fetcher_with):
    fetcher, _ = fetcher_with()
    with ImageServer() as server:
        assert fetcher.fetch(server.url("/good.jpg"), is_upload=False).body == pictures.jpeg()


@pytest.mark.parametrize("allow", [("*",), ("shop-photos",), ("shop-photos/2026/",), ("private", "shop-photos/2026/a")])
def test_allowed_bucket(fetcher_with, allow):
    fetched = fetcher_with(allow_s3=allow)[0].fetch("s3://shop-photos/2026/a.jpg", is_upload=False)

    assert fetched.body == pictures.jpeg()
    assert fetched.content_type == "image/jpeg"


@pytest.mark.parametrize("allow", [(), ("shop",), ("shop-photos/2025/",), ("private",)])
def test_other_buckets_are_blocked(fetcher_with, allow):
    with pytest.raises(FetchBlocked):
        fetcher_with(allow_s3=allow)[0].fetch("s3://shop-photos/2026/a.jpg", is_upload=False)


def test_schemes_can_be_switched_off(fetcher_with):
    fetcher, _ = fetcher_with(allow_s3=("*",), schemes=("https",))
    for address in ("s3://shop-photos/2026/a.jpg", "http://127.0.0.1/a.jpg"):
        with pytest.raises(FetchBlocked, match=r"operator.* allows https \(ENRICH_FETCH__SCHEMES\)"):
            fetcher.fetch(address, is_upload=False)


@pytest.mark.parametrize("address", ["s3://shop-photos/2026/none.jpg", "s3://no-such-bucket/a.jpg"])
def test_missing_objects(fetcher_with, address):
    with pytest.raises(NotFound):
        fetcher_with(allow_s3=("*",))[0].fetch(address, is_upload=False)


def test_large_objects_are_refused(fetcher_with):
    with pytest.raises(ImageTooLarge):
        fetcher_with(allow_s3=("*",))[0].fetch("s3://shop-photos/2026/big", is_upload=False)


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_own_upload(fetcher_with, kind):
    fetcher, storage = fetcher_with(kind)
    address = storage.put(pictures.jpeg(), owner_id="local", content_type="image/jpeg")

    assert fetcher.fetch(address, is_upload=True).body == pictures.jpeg()
    with pytest.raises(FetchBlocked):  # the same address, but written by a caller
        fetcher.fetch(address, is_upload=False)


def test_uploads_stay_closed_when_every_bucket_is_open(fetcher_with):
    fetcher, storage = fetcher_with(allow_s3=("*", "enrich", "enrich/uploads/"))
    address = storage.put(pictures.jpeg(), owner_id="other", content_type=None)

    for written in (
        address,
        address.replace("enrich/uploads", "enrich//uploads"),
        address.replace("uploads/", "a/../uploads/"),
    ):
        with pytest.raises(FetchBlocked):
            fetcher.fetch(written, is_upload=False)


@pytest.mark.parametrize("key", ["2026/../2025/a.jpg", "2026//../2025/a.jpg"])
def test_no_key_leads_out_of_what_is_allowed(fetcher_with, key):
    with pytest.raises(FetchBlocked):
        fetcher_with(allow_s3=("shop-photos/2026/",))[0].fetch(f"s3://shop-photos/{key}", is_upload=False)


@pytest.mark.parametrize("address", ["file:///etc/passwd", "s3://", "", "upload://local/ab/" + "a" * 64])
def test_everything_else_is_blocked(fetcher_with, address):
    with pytest.raises(FetchBlocked):
        fetcher_with(allow_s3=("*",))[0].fetch(address, is_upload=False)


def test_is_upload_opens_nothing_but_uploads(fetcher_with):
    for address in ("s3://private/a.jpg", "https://shop.example/a.jpg", "upload://../etc/passwd"):
        with pytest.raises(AccessDenied):
            fetcher_with()[0].fetch(address, is_upload=True)


def test_store_that_is_down(tmp_path):
    settings = Settings(
        fetch=FetchSettings(allow_s3=("*",)),
        storage=StorageSettings(folder=tmp_path),
        s3=S3Settings(
            endpoint_url="http://127.0.0.1:9",
            access_key_id=SecretStr("test"),
            secret_access_key=SecretStr("test"),
            max_attempts=1,
        ),
    )
    client = GuardedClient(settings.fetch)
    with pytest.raises(StorageUnavailable):
        Fetcher(settings, open_storage(settings), client).fetch("s3://shop-photos/a.jpg", is_upload=False)
    client.close()

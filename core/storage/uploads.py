"""Storage for uploaded images: a folder on a single machine, or an S3 bucket.

Files are named by owner and content (SHA-256), so the same bytes of one owner are stored once and never overwritten by
other content. Several jobs may share a file: delete it only with the last of them.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from core.errors import (
    AccessDenied,
    InvalidAddress,
    NotFound,
    StorageUnavailable,
)
from core.net.content_encoding import too_large
from core.net.urls import UPLOAD_SCHEME, Address
from core.settings import S3Settings, Settings, StorageSettings
from core.storage.s3 import LazyS3Client, make_s3_client, read_object
from core.storage.s3_errors import s3_failures_as_job_errors

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}/[0-9a-f]{2}/[0-9a-f]{64}")

__all__ = ["FolderStorage", "S3Storage", "Storage", "make_s3_client", "open_storage"]


class Storage(Protocol):
    """Stores uploads. Every method raises StorageUnavailable if the store is unreachable. Thread-safe."""

    def put(self, data: bytes, *, owner_id: str, content_type: str | None) -> str:
        """Stores the bytes and returns their address. The same bytes of the same owner have the same address."""

    def get(self, address: str, max_bytes: int) -> bytes:
        """Returns the bytes at the address. Raises NotFound, AccessDenied, ImageTooLarge."""

    def delete(self, address: str) -> None:
        """Deletes the bytes. Does nothing if they do not exist. Raises AccessDenied."""

    def is_own(self, address: str) -> bool:
        """Whether the address has the form that this storage's `put` returns."""

    def check(self) -> None:
        """Checks that uploads can be stored, for readiness. Raises StorageUnavailable."""


def open_storage(settings: Settings) -> Storage:
    """Returns the storage selected by the settings. Does not access disk or network yet."""
    if settings.storage.kind == "s3":
        return S3Storage(settings.storage, settings.s3)
    return FolderStorage(settings.storage.folder)


class FolderStorage:
    """Stores uploads in a folder, as `owner/ab/abcd…`. Their addresses are `upload://owner/ab/abcd…`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes, *, owner_id: str, content_type: str | None) -> str:
        key = _content_key(data, owner_id)
        path = self._folder / key
        try:
            if not (path.is_file() and path.stat().st_size == len(data)):
                _write_whole(path, data)
        except OSError as error:
            raise StorageUnavailable("The uploaded file could not be stored.") from error
        return f"{UPLOAD_SCHEME}://{key}"

    def get(self, address: str, max_bytes: int) -> bytes:
        try:
            with self._path(address).open("rb") as file:
                data = file.read(max_bytes + 1)
        except FileNotFoundError:
            raise NotFound("The uploaded file no longer exists: upload it again.") from None
        except OSError as error:
            raise StorageUnavailable("The uploaded file could not be read.") from error
        if len(data) > max_bytes:
            raise too_large(max_bytes)
        return data

    def delete(self, address: str) -> None:
        try:
            self._path(address).unlink(missing_ok=True)
        except OSError as error:
            raise StorageUnavailable("The uploaded file could not be deleted.") from error

    def is_own(self, address: str) -> bool:
        key = address.removeprefix(f"{UPLOAD_SCHEME}://")
        return key != address and _KEY.fullmatch(key) is not None

    def check(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as error:
            raise StorageUnavailable("The folder for uploads is not writable.") from error

    def _path(self, address: str) -> Path:
        # The pattern of keys excludes `..`, absolute paths and anything else that leaves the folder.
        if not self.is_own(address):
            raise AccessDenied("This is not the address of an uploaded file.")
        return self._folder / address.removeprefix(f"{UPLOAD_SCHEME}://")


class S3Storage:
    """Stores uploads in a bucket. Their addresses are `s3://bucket/prefix…owner/ab/abcd…`."""

    def __init__(self, settings: StorageSettings, s3: S3Settings) -> None:
        self._bucket = settings.bucket
        self._prefix = settings.prefix
        self._client = LazyS3Client(lambda: make_s3_client(s3))

    @property
    def client(self) -> S3Client:
        """The client, created at its first use. Fetches from callers' buckets share its connections."""
        return self._client.get()

    def put(self, data: bytes, *, owner_id: str, content_type: str | None) -> str:
        key = self._prefix + _content_key(data, owner_id)
        kind = content_type or "application/octet-stream"
        with s3_failures_as_job_errors(is_uploads=True):
            self.client.put_object(Bucket=self._bucket, Key=key, Body=data, ContentType=kind)
        return f"s3://{self._bucket}/{key}"

    def get(self, address: str, max_bytes: int) -> bytes:
        return read_object(self.client, self._bucket, self._key(address), max_bytes, is_uploads=True)[0]

    def delete(self, address: str) -> None:
        with s3_failures_as_job_errors(is_uploads=True):
            self.client.delete_object(Bucket=self._bucket, Key=self._key(address))

    def is_own(self, address: str) -> bool:
        try:
            parsed = Address.parse(address)
        except InvalidAddress:
            return False
        is_here = parsed.scheme == "s3" and parsed.host == self._bucket and parsed.path.startswith(self._prefix)
        return is_here and _KEY.fullmatch(parsed.path.removeprefix(self._prefix)) is not None

    def check(self) -> None:
        with s3_failures_as_job_errors(is_uploads=True):
            self.client.head_bucket(Bucket=self._bucket)

    def _key(self, address: str) -> str:
        if not self.is_own(address):
            raise AccessDenied("This is not the address of an uploaded file.")
        return Address.parse(address).path


def _content_key(data: bytes, owner_id: str) -> str:
    if not _OWNER.fullmatch(owner_id):
        raise ValueError("an owner id must have 1 to 128 letters, digits, - and _")
    digest = hashlib.sha256(data).hexdigest()
    return f"{owner_id}/{digest[:2]}/{digest}"


def _write_whole(path: Path, data: bytes) -> None:
    """Writes the file atomically: after a crash it is either complete or missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise

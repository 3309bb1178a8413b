"""Fetches a job's image from the web, a caller's bucket, or our own uploads."""

from __future__ import annotations

import posixpath

from core.errors import FetchBlocked, InvalidAddress
from core.net.failures import not_there_yet
from core.net.http import Fetched, GuardedClient
from core.net.ssrf_guard import scheme_blocked
from core.net.urls import DEFAULT_PORTS, Address
from core.settings import Settings
from core.storage.s3 import LazyS3Client, make_s3_client, read_object
from core.storage.uploads import Storage


class Fetcher:
    """Fetches by scheme, with one byte limit for all. Thread-safe. The caller closes the client."""

    def __init__(self, settings: Settings, storage: Storage, client: GuardedClient) -> None:
        self._settings = settings
        self._storage = storage
        self._client = client
        self._s3 = LazyS3Client(lambda: make_s3_client(settings.s3))

    def fetch(self, address: str, *, is_upload: bool) -> Fetched:
        """Fetches the file at the address.

        is_upload: whether our storage created the address for this job. Never true for a caller's address.
        Raises FetchBlocked, FetchFailed, FetchTimeout, NotFound, AccessDenied, ImageTooLarge, StorageUnavailable.
        """
        max_bytes = self._settings.fetch.max_bytes
        if is_upload:
            return Fetched(self._storage.get(address, max_bytes), None, address)
        try:
            parsed = Address.parse(address)
        except InvalidAddress as error:
            raise FetchBlocked(error.message) from None
        if parsed.scheme in DEFAULT_PORTS:
            return self._client.get(address)
        self._check_s3(parsed)
        body, content_type = read_object(self._s3.get(), parsed.host, parsed.path, max_bytes)
        if not body:
            raise not_there_yet("empty object")
        return Fetched(body, content_type, address)

    def _check_s3(self, address: Address) -> None:
        fetch = self._settings.fetch
        if address.scheme != "s3" or "s3" not in fetch.schemes:
            raise scheme_blocked(address.scheme, fetch.schemes)
        # The worker may read all uploads: without this check, one owner could name another's file. Stores may normalize
        # `a//b` and `a/../b` to other keys, so the normalized key must be allowed, too.
        keys = {address.path, posixpath.normpath("/" + address.path).lstrip("/")}
        is_allowed = all(any(_covers(entry, address.host, key) for entry in fetch.allow_s3) for key in keys)
        if not is_allowed or any(self._is_in_uploads(address.host, key) for key in keys):
            raise FetchBlocked(
                "This bucket may not be read: ask the operator to allow it (ENRICH_FETCH__ALLOW_S3), "
                "or use a presigned https address."
            )

    def _is_in_uploads(self, bucket: str, key: str) -> bool:
        storage = self._settings.storage
        return storage.kind == "s3" and bucket == storage.bucket and key.startswith(storage.prefix)


def _covers(entry: str, bucket: str, key: str) -> bool:
    """Whether an entry of `allow_s3` (`*`, `bucket` or `bucket/prefix`) covers the key in the bucket."""
    allowed, _, prefix = entry.partition("/")
    return entry == "*" or (allowed == bucket and key.startswith(prefix))

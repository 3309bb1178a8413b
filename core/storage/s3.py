"""The S3 client, and a size-limited read.

boto3 is imported only when a client is created, so that a service with a folder for uploads does not load it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

from core.net.content_encoding import decoded, too_large
from core.settings import S3Settings
from core.storage.s3_errors import s3_failures_as_job_errors

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef


def make_s3_client(settings: S3Settings) -> S3Client:
    """Returns a thread-safe client with short timeouts: if the store is slow, the job is retried later."""
    import boto3
    from botocore.config import Config

    key, secret = settings.access_key_id, settings.secret_access_key
    config = Config(
        connect_timeout=settings.connect_timeout_s,
        read_timeout=settings.read_timeout_s,
        retries={"total_max_attempts": settings.max_attempts, "mode": "standard"},
        max_pool_connections=settings.max_connections,
        # S3-compatible services rarely have a DNS name per bucket, and some do not support the newer checksums.
        s3={"addressing_style": "path" if settings.endpoint_url else "auto"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    # boto3's default session is not thread-safe.
    client: S3Client = boto3.session.Session().client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=settings.region,
        aws_access_key_id=key.get_secret_value() if key else None,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=config,
    )
    return client


class LazyS3Client:
    """Creates the client once, at its first use. Thread-safe."""

    def __init__(self, make: Callable[[], S3Client]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._client: S3Client | None = None

    def get(self) -> S3Client:
        with self._lock:
            if self._client is None:
                with s3_failures_as_job_errors():
                    self._client = self._make()
            return self._client


def read_object(
    client: S3Client, bucket: str, key: str, max_bytes: int, *, is_uploads: bool = False
) -> tuple[bytes, str | None]:
    """Returns the object's bytes, without the codings of its `Content-Encoding`, and its content type.

    Rejects an object over the limit before it reads the body.

    is_uploads: whether the bucket is our own; see `s3_failures_as_job_errors`.
    Raises NotFound, AccessDenied, ImageTooLarge, StorageUnavailable; FetchFailed and FetchRefused as `decoded` does.
    """
    with s3_failures_as_job_errors(is_uploads=is_uploads):
        answer = client.get_object(Bucket=bucket, Key=key)
        with closing(answer["Body"]):
            body = _read_body(answer, max_bytes)
    return decoded(body, answer.get("ContentEncoding", ""), max_bytes), answer.get("ContentType")


def _read_body(answer: GetObjectOutputTypeDef, max_bytes: int) -> bytes:
    if answer.get("ContentLength", 0) <= max_bytes:
        body: bytes = answer["Body"].read(max_bytes + 1)
        if len(body) <= max_bytes:
            return body
    raise too_large(max_bytes)

"""The error tree: one class per way in which a job or a request can fail.

    EnrichError                  code, message safe to show, retryable
    ├── JobError                 becomes the `error` of a failed job
    │   ├── FetchBlocked             fetch_blocked           the address may not be fetched
    │   ├── FetchFailed              fetch_failed          * the server or the connection failed
    │   │   └── FetchRefused             fetch_failed        the server's answer is final
    │   ├── FetchTimeout             fetch_timeout         *
    │   ├── NotFound                 not_found
    │   ├── AccessDenied             access_denied
    │   ├── ImageTooLarge            image_too_large
    │   ├── UnsupportedMediaType     unsupported_media_type
    │   ├── ImageUndecodable         image_undecodable
    │   ├── ModelUnavailable         model_unavailable     *
    │   ├── StorageUnavailable       storage_unavailable   *
    │   │   └── StorageMisconfigured     storage_unavailable  the settings must change first
    │   ├── DeadlineExceeded         deadline_exceeded     *
    │   ├── Poison                   poison                  every process that ran it crashed
    │   └── InternalError            internal_error        *
    └── RequestError             becomes a problem+json response, see api/middleware/problems.py

`*` = retryable: the worker retries with backoff before it fails the job.

Messages are shown to callers. They name the remedy and never reveal details of the internal network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class EnrichError(Exception):
    """Base class of all errors. `code` is stable, and the message is safe to show to callers."""

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    @property
    def message(self) -> str:
        return str(self)


class JobError(EnrichError):
    """A job failed. `retryable` is whether a retry may succeed.

    retry_after_s: seconds to wait before the next attempt, if a server asked for it.
    """

    def __init__(self, message: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class FetchBlocked(JobError):
    code = "fetch_blocked"


class FetchFailed(JobError):
    code = "fetch_failed"
    retryable = True


class FetchRefused(FetchFailed):
    """A fetch failed and a retry would not help: most 4xx statuses, redirect loops, an invalid certificate."""

    retryable = False


class FetchTimeout(JobError):
    code = "fetch_timeout"
    retryable = True


class NotFound(JobError):
    code = "not_found"


class AccessDenied(JobError):
    code = "access_denied"


class ImageTooLarge(JobError):
    code = "image_too_large"


class UnsupportedMediaType(JobError):
    code = "unsupported_media_type"


class ImageUndecodable(JobError):
    code = "image_undecodable"


class ModelUnavailable(JobError):
    code = "model_unavailable"
    retryable = True


class StorageUnavailable(JobError):
    code = "storage_unavailable"
    retryable = True


class StorageMisconfigured(StorageUnavailable):
    """The service's settings keep it from the object store, and a retry would not help: no credentials, a bad URL."""

    retryable = False


class DeadlineExceeded(JobError):
    code = "deadline_exceeded"
    retryable = True


class Poison(JobError):
    code = "poison"


class InternalError(JobError):
    code = "internal_error"
    retryable = True


class RequestError(EnrichError):
    """A request cannot be served. `status` and `headers` are those of the HTTP response."""

    status: ClassVar[int] = 400
    code = "bad_request"

    @property
    def headers(self) -> Mapping[str, str]:
        return {}


class JobNotFound(RequestError):
    status = 404
    code = "job_not_found"


class JobConflict(RequestError):
    """The job's status does not allow the operation."""

    status = 409
    code = "job_conflict"


class IdempotencyConflict(RequestError):
    """The Idempotency-Key was used before with a different request."""

    status = 422
    code = "idempotency_key_reused"


class InvalidAddress(RequestError):
    status = 422
    code = "invalid_address"


class TooManyQueued(RequestError):
    """The owner has reached the limit of queued jobs."""

    status = 429
    code = "too_many_queued"
    retryable = True

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": "10"}


class EndpointNotFound(RequestError):
    status = 404
    code = "endpoint_not_found"


class DeliveryNotFound(RequestError):
    status = 404
    code = "delivery_not_found"


class EndpointDisabled(RequestError):
    """The endpoint is disabled; it receives nothing until its owner enables it."""

    status = 409
    code = "endpoint_disabled"


class TooManyEndpoints(RequestError):
    status = 409
    code = "too_many_endpoints"

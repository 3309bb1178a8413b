"""The one error tree: what can go wrong with a job or a request, as types.

    EnrichError                  code, message safe to show, retryable
    ├── JobError                 ends up as `error` of a failed job
    │   ├── FetchBlocked             fetch_blocked           the address is not one we may ask
    │   ├── FetchFailed              fetch_failed          * the other side misbehaved
    │   │   └── FetchRefused             fetch_failed        it misbehaved, and will again
    │   ├── FetchTimeout             fetch_timeout         *
    │   ├── NotFound                 not_found
    │   ├── AccessDenied             access_denied
    │   ├── ImageTooLarge            image_too_large
    │   ├── UnsupportedMediaType     unsupported_media_type
    │   ├── ImageUndecodable         image_undecodable
    │   ├── ModelUnavailable         model_unavailable     *
    │   ├── StorageUnavailable       storage_unavailable   *
    │   ├── DeadlineExceeded         deadline_exceeded     *
    │   ├── Poison                   poison                  every process that took it died
    │   └── InternalError            internal_error        *
    └── RequestError             ends up as a problem+json answer, see api/middleware/problems.py

`*` = retryable: the worker tries again with backoff before the job is failed for good.

Messages are shown to callers: they say what to do, and never what our network looks like inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class EnrichError(Exception):
    """Base of all errors with a stable `code`. The exception's text is safe to show to the caller."""

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    @property
    def message(self) -> str:
        return str(self)


class JobError(EnrichError):
    """A job cannot go on. `retryable` says whether another try may help."""


class FetchBlocked(JobError):
    code = "fetch_blocked"


class FetchFailed(JobError):
    code = "fetch_failed"
    retryable = True


class FetchRefused(FetchFailed):
    """The other side's answer is final: most 4xx statuses, redirect loops, a bad certificate."""

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


class DeadlineExceeded(JobError):
    code = "deadline_exceeded"
    retryable = True


class Poison(JobError):
    code = "poison"


class InternalError(JobError):
    code = "internal_error"
    retryable = True


class RequestError(EnrichError):
    """A request that cannot be served; `status` is the HTTP status of the answer, `headers` what it carries beside."""

    status: ClassVar[int] = 400
    code = "bad_request"

    @property
    def headers(self) -> Mapping[str, str]:
        return {}


class JobNotFound(RequestError):
    status = 404
    code = "job_not_found"


class JobConflict(RequestError):
    """The job is not in a state in which this can be done."""

    status = 409
    code = "job_conflict"


class IdempotencyConflict(RequestError):
    """The same Idempotency-Key came with another request."""

    status = 422
    code = "idempotency_key_reused"


class InvalidAddress(RequestError):
    status = 422
    code = "invalid_address"


class TooManyQueued(RequestError):
    """The owner has as many waiting jobs as one may have."""

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
    """Nothing can be sent to it until its owner enables it again."""

    status = 409
    code = "endpoint_disabled"


class TooManyEndpoints(RequestError):
    status = 409
    code = "too_many_endpoints"

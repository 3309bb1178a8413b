"""Errors as RFC 9457 problem documents with a stable `code`.

    RequestError (core/errors.py; authentication errors: api/middleware/auth_errors.py)
    ├── InvalidRequest            422 invalid_request           lists each invalid field in `errors`
    ├── MalformedJson             400 malformed_json
    ├── UploadTooLarge            413 image_too_large
    ├── UnsupportedContentType    415 unsupported_content_type
    └── Unavailable               503                           retryable; sends Retry-After
        ├── DatabaseUnavailable       database_unavailable
        ├── ModelUnknown              model_unavailable         no worker has registered its bundle yet
        └── NotReady                  not_ready                 response to a probe; `parts` lists what is missing

`type` links to the page that explains the code. Unexpected errors expose nothing but the request id.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from apiflask import APIFlask, HTTPError
from flask import Response, json, request
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from api.middleware.request_context import request_id
from core.db.errors import UNAVAILABLE
from core.errors import RequestError, StorageUnavailable
from core.telemetry.logs import get_logger

log = get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5

# Code and detail of the HTTP errors that the framework raises.
HTTP_PROBLEMS = {
    400: ("bad_request", "malformed request"),
    404: ("route_not_found", "no such route; see /docs"),
    405: ("method_not_allowed", "method not allowed; the `Allow` header lists the allowed methods"),
    413: (
        "request_too_large",
        "the request body exceeds the size limit; send a picture in the field `file` of a form, not as text in JSON",
    ),
    414: ("address_too_long", "the request URL is too long"),
    415: ("unsupported_content_type", "send application/json, or multipart/form-data with the field `file`"),
    416: ("range_not_satisfiable", "the requested range is not satisfiable"),
}


@dataclasses.dataclass(frozen=True)
class FieldError:
    """An invalid field of a request: its location (such as `json` or `query`), its name, and the reason."""

    location: str
    field: str
    message: str


class InvalidRequest(RequestError):
    status = 422
    code = "invalid_request"

    def __init__(self, errors: Iterable[FieldError]) -> None:
        self.errors = list(errors)
        super().__init__("; ".join(f"`{error.field}`: {error.message}" for error in self.errors))

    @classmethod
    def from_pydantic(cls, location: str, error: ValidationError) -> InvalidRequest:
        """Converts Pydantic's errors, without the invalid values: they may be secrets."""
        return cls(FieldError(location, _dotted(each["loc"]), each["msg"]) for each in error.errors())


class MalformedJson(RequestError):
    code = "malformed_json"


class UploadTooLarge(RequestError):
    status = 413
    code = "image_too_large"


class UnsupportedContentType(RequestError):
    status = 415
    code = "unsupported_content_type"


class Unavailable(RequestError):
    """A dependency is down; the same request may succeed later."""

    status = 503
    retryable = True


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"


class ModelUnknown(Unavailable):
    code = "model_unavailable"


class NotReady(Unavailable):
    code = "not_ready"

    def __init__(self, message: str, parts: Mapping[str, str]) -> None:
        super().__init__(message)
        self.parts = dict(parts)


def install(app: APIFlask) -> None:
    """Renders every error of the application as a problem document."""
    app.register_error_handler(RequestError, _request_error)
    app.register_error_handler(StorageUnavailable, _storage_down)
    for error in UNAVAILABLE:
        app.register_error_handler(error, _database_down)
    app.register_error_handler(HTTPError, _invalid_input)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def problem(status: int, code: str, detail: str, **members: Any) -> Response:
    """Builds the response of a problem document."""
    document = {
        "type": f"/docs/errors#{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
        # Without the query string, which may contain a secret.
        "instance": request.path,
        "request_id": request_id(),
        **members,
    }
    response = Response(json.dumps(document, sort_keys=False), status, content_type=MEDIA_TYPE)
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _request_error(error: RequestError) -> Response:
    members: dict[str, Any] = {}
    if isinstance(error, InvalidRequest):
        members["errors"] = [dataclasses.asdict(each) for each in error.errors]
    if isinstance(error, NotReady):
        members["parts"] = error.parts
    response = problem(error.status, error.code, error.message, **members)
    response.headers.update(error.headers)
    return response


def _storage_down(error: StorageUnavailable) -> Response:
    log.warning("storage_unavailable", exc_info=error)
    return problem(503, error.code, "the upload storage is unavailable; try again in a few seconds")


def _database_down(error: Exception) -> Response:
    log.warning("database_unavailable", error=type(error).__name__)
    return _request_error(DatabaseUnavailable("the database is unavailable; try again in a few seconds"))


def _invalid_input(error: HTTPError) -> Response:
    # APIFlask's format: {location: {field: [messages]}}.
    detail = error.detail if isinstance(error.detail, dict) else {}
    errors = [
        FieldError(location, field.replace("_", "-") if location == "headers" else field, message)
        for location, fields in detail.items()
        for field, messages in fields.items()
        for message in messages
    ]
    return _request_error(InvalidRequest(errors))


def _http_error(error: HTTPException) -> Response:
    if error.code is None or error.code < 400:
        return Response(error.get_response(request.environ).data, error.code or 500, dict(error.get_headers()))
    code, detail = HTTP_PROBLEMS.get(error.code, ("bad_request", error.name))
    response = problem(error.code, code, detail)
    response.headers.extend({name: value for name, value in error.get_headers() if name != "Content-Type"})
    return response


def _unexpected(error: Exception) -> Response:
    log.error("request_failed", path=request.path, exc_info=error)
    return problem(500, "internal_error", "internal error; if it persists, report the request id")


def _dotted(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "body"

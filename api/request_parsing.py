"""Parses a POST request into a submission: JSON with a URL, or a multipart upload."""

from __future__ import annotations

import re
from typing import TypeVar

from flask import request
from pydantic import BaseModel, ValidationError
from werkzeug.datastructures import FileStorage

from api.middleware.auth import key_id, owner_id
from api.middleware.problems import (
    FieldError,
    InvalidRequest,
    MalformedJson,
    UnsupportedContentType,
    UploadTooLarge,
)
from api.middleware.request_context import request_id
from api.schemas.jobs import JobHeaders, JobRequest, UploadRequest
from api.services import services
from core.jobs.submission import Submission
from core.storage.image_addresses import parse_image_address
from core.telemetry.tracing import current_traceparent
from core.webhooks.endpoints import validate_url

Body = TypeVar("Body", bound=BaseModel)

FILE_FIELD = "file"
MAX_JSON_BYTES = 64 * 1024

_WAIT = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?=$|[,;])", re.IGNORECASE)


def read_submission(headers: JobHeaders) -> Submission:
    """Parses the current request. An uploaded file is stored before this returns.

    Raises RequestError if the request is invalid, StorageUnavailable if the upload cannot be stored.
    """
    match request.mimetype:
        case "application/json":
            return _from_json(headers)
        case "multipart/form-data":
            return _from_upload(headers)
    raise UnsupportedContentType("send application/json, or multipart/form-data with the field `file`")


def wait_preference(prefer: str | None) -> int | None:
    """Returns the seconds of `Prefer: wait=N`, or None. A malformed preference is ignored, as RFC 7240 requires."""
    match = _WAIT.search(prefer or "")
    return int(match[1]) if match else None


def read_json(model: type[Body], *, is_optional: bool = False) -> Body:
    """Parses the JSON body of the current request. With `is_optional` a missing body counts as an empty object.

    Raises UnsupportedContentType, MalformedJson or InvalidRequest.
    """
    request.max_content_length = MAX_JSON_BYTES
    data = request.get_data()
    if is_optional and not data:
        return model()
    if request.mimetype != "application/json":
        raise UnsupportedContentType("send application/json")
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        if any(each["type"] == "json_invalid" for each in error.errors()):
            raise MalformedJson("the body is not valid JSON; check quotes and commas") from error
        raise InvalidRequest.from_pydantic("json", error) from error


def webhook_address(text: str | None) -> str | None:
    """Validates and normalizes a webhook URL. Raises InvalidAddress if events may not be sent to it."""
    return validate_url(text, services().guard) if text is not None else None


def _from_json(headers: JobHeaders) -> Submission:
    body = read_json(JobRequest)
    return Submission(
        owner_id=owner_id(),
        address=str(parse_image_address(body.url, services().settings.fetch, services().storage)),
        lane=body.lane,
        external_id=body.external_id,
        idempotency_key=headers.idempotency_key,
        webhook_url=webhook_address(body.webhook_url),
        webhook_key_id=key_id(),
        request_id=request_id(),
        traceparent=current_traceparent(),
    )


def _from_upload(headers: JobHeaders) -> Submission:
    form = _parse_form()
    webhook_url = webhook_address(form.webhook_url)
    file = _single_file()
    data = _read(file)
    address = services().storage.put(data, owner_id=owner_id(), content_type=file.mimetype)
    return Submission(
        owner_id=owner_id(),
        address=address,
        is_upload=True,
        lane=form.lane,
        external_id=form.external_id,
        idempotency_key=headers.idempotency_key,
        webhook_url=webhook_url,
        webhook_key_id=key_id(),
        request_id=request_id(),
        traceparent=current_traceparent(),
    )


def _parse_form() -> UploadRequest:
    try:
        return UploadRequest.model_validate(request.form.to_dict())
    except ValidationError as error:
        raise InvalidRequest.from_pydantic("form", error) from error


def _single_file() -> FileStorage:
    files = [(name, file) for name in request.files for file in request.files.getlist(name)]
    if len(files) != 1 or files[0][0] != FILE_FIELD:
        raise InvalidRequest([FieldError("files", FILE_FIELD, f"exactly one file is required, got {len(files)}")])
    return files[0][1]


def _read(file: FileStorage) -> bytes:
    limit = services().settings.fetch.max_bytes
    data = file.stream.read(limit + 1)
    if len(data) > limit:
        raise UploadTooLarge(f"the file is larger than {limit} bytes; send a smaller version of the image")
    if not data:
        raise InvalidRequest([FieldError("files", FILE_FIELD, "the file is empty")])
    return data

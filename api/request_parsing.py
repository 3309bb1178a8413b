"""A POST read into a submission: an address as JSON, or a file as multipart that is stored before anything else."""

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
from api.services import resources
from core.errors import InvalidAddress
from core.jobs.submission import Submission
from core.net.urls import UPLOAD_SCHEME, Address
from core.telemetry.tracing import current_traceparent
from core.webhooks.endpoints import checked_url

Body = TypeVar("Body", bound=BaseModel)

FILE_FIELD = "file"
MAX_JSON_BYTES = 64 * 1024

_WAIT = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?=$|[,;])", re.IGNORECASE)


def read_submission(headers: JobHeaders) -> Submission:
    """What the current request asks for. An upload has been stored when this returns.

    Raises RequestError for what cannot be taken, StorageUnavailable when the upload cannot be kept.
    """
    match request.mimetype:
        case "application/json":
            return _from_json(headers)
        case "multipart/form-data":
            return _from_upload(headers)
    raise UnsupportedContentType("send application/json, or multipart/form-data with the field `file`")


def wait_preference(prefer: str | None) -> int | None:
    """Seconds of `Prefer: wait=N` (RFC 7240); None without one. What cannot be read is ignored, as the RFC wants."""
    found = _WAIT.search(prefer or "")
    return int(found[1]) if found else None


def read_json(model: type[Body], *, is_optional: bool = False) -> Body:
    """The current request's JSON body. With `is_optional` no body is an empty one.

    Raises RequestError: UnsupportedContentType, MalformedJson, InvalidRequest.
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
            raise MalformedJson("the body is not JSON; check quotes and commas") from error
        raise InvalidRequest.from_pydantic("json", error) from error


def webhook_address(text: str | None) -> str | None:
    """The address as it will be asked. Raises InvalidAddress for one that events may not be sent to."""
    return checked_url(text, resources().guard) if text is not None else None


def _from_json(headers: JobHeaders) -> Submission:
    asked = read_json(JobRequest)
    return Submission(
        owner_id=owner_id(),
        address=_callers_address(asked.url),
        lane=asked.lane,
        external_id=asked.external_id,
        idempotency_key=headers.idempotency_key,
        webhook_url=webhook_address(asked.webhook_url),
        webhook_key_id=key_id(),
        request_id=request_id(),
        traceparent=current_traceparent(),
    )


def _callers_address(text: str) -> str:
    address = Address.parse(text)
    allowed = resources().settings.fetch.schemes
    # Uploads are named by the service alone: by naming one, a caller could read another owner's file.
    if address.scheme == UPLOAD_SCHEME or address.scheme not in allowed or resources().storage.is_own(str(address)):
        raise InvalidAddress(f"Only {', '.join(allowed)} addresses of your own pictures are taken; send files directly")
    return str(address)


def _from_upload(headers: JobHeaders) -> Submission:
    form = _parse_form()
    webhook_url = webhook_address(form.webhook_url)
    file = _the_file()
    data = _read(file)
    address = resources().storage.put(data, owner_id=owner_id(), content_type=file.mimetype)
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


def _the_file() -> FileStorage:
    files = [(name, file) for name in request.files for file in request.files.getlist(name)]
    if len(files) != 1 or files[0][0] != FILE_FIELD:
        raise InvalidRequest([FieldError("files", FILE_FIELD, f"exactly one file is taken, not {len(files)}")])
    return files[0][1]


def _read(file: FileStorage) -> bytes:
    limit = resources().settings.fetch.max_bytes
    data = file.stream.read(limit + 1)
    if len(data) > limit:
        raise UploadTooLarge(f"the file is larger than {limit} bytes; send a smaller version of the picture")
    if not data:
        raise InvalidRequest([FieldError("files", FILE_FIELD, "the file is empty")])
    return data

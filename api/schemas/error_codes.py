"""Explanations of all error codes of problem documents and failed jobs, as shown on the page /docs/errors."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ErrorCode:
    """A stable error code. `status` is the HTTP status, or None for codes that only failed jobs have."""

    code: str
    status: int | None
    meaning: str
    advice: str


ERROR_CODES = (
    ErrorCode("bad_request", 400, "The request is malformed.", "Check its syntax and form encoding."),
    ErrorCode("malformed_json", 400, "The body is not valid JSON.", "Check quotes and commas, and send it as UTF-8."),
    ErrorCode("invalid_cursor", 400, "The cursor is invalid.", "Start the list again without a cursor."),
    ErrorCode("key_required", 401, "The request has no API key.", "Send it as `Authorization: Bearer enrich_…`."),
    ErrorCode("key_invalid", 401, "The API key is invalid or revoked.", "Check it, or create a new one."),
    ErrorCode("scope_missing", 403, "The API key lacks a scope.", "Use a key with the scope named in `detail`."),
    ErrorCode("not_local", 403, "Without API keys only requests from this machine are accepted.", "Set up API keys."),
    ErrorCode("job_not_found", 404, "The job does not exist or has another owner.", "Check the id."),
    ErrorCode("endpoint_not_found", 404, "The webhook endpoint does not exist or has another owner.", "Check the id."),
    ErrorCode(
        "delivery_not_found",
        404,
        "The delivery does not exist or has another owner.",
        "Check the id; old deliveries are deleted.",
    ),
    ErrorCode("route_not_found", 404, "There is no such route.", "See the API documentation."),
    ErrorCode("method_not_allowed", 405, "The route does not support this method.", "See the header `Allow`."),
    ErrorCode("job_conflict", 409, "The job's status does not allow this operation.", "Get the job's current status."),
    ErrorCode("endpoint_disabled", 409, "The webhook endpoint is disabled.", "Enable it; see `disabled_reason`."),
    ErrorCode(
        "too_many_endpoints", 409, "The maximum number of webhook endpoints is reached.", "Delete an unused one."
    ),
    ErrorCode(
        "request_too_large", 413, "The request body exceeds the size limit.", "Upload a smaller image, not as JSON."
    ),
    ErrorCode(
        "image_too_large", 413, "The image exceeds the limits of bytes, pixels or work.", "Send a smaller version."
    ),
    ErrorCode("address_too_long", 414, "The request URL is too long.", "Shorten the query string."),
    ErrorCode(
        "unsupported_content_type", 415, "The content type is not supported.", "Send JSON, or multipart with `file`."
    ),
    ErrorCode("range_not_satisfiable", 416, "The requested range is not satisfiable.", "Send no `Range` header."),
    ErrorCode("invalid_request", 422, "A field is missing, unknown or invalid.", "`errors` lists each invalid field."),
    ErrorCode("invalid_address", 422, "The URL is invalid or not allowed.", "`detail` says what to write instead."),
    ErrorCode("idempotency_key_reused", 422, "The Idempotency-Key was used for a different request.", "Use a new key."),
    ErrorCode("rate_limited", 429, "The API key exceeds its rate limit.", "Retry after `Retry-After` seconds."),
    ErrorCode("too_many_queued", 429, "You have too many queued jobs.", "Retry after `Retry-After` seconds."),
    ErrorCode("internal_error", 500, "An internal error occurred.", "Retry; if it persists, report the request id."),
    ErrorCode("database_unavailable", 503, "The database is unavailable.", "Retry after `Retry-After` seconds."),
    ErrorCode("storage_unavailable", 503, "The upload storage is unavailable.", "Retry in a few seconds."),
    ErrorCode("model_unavailable", 503, "No worker has loaded a model.", "Start a worker, or wait for one."),
    ErrorCode("not_ready", 503, "The service cannot accept jobs yet.", "`parts` lists what is missing."),
    ErrorCode("fetch_blocked", None, "The URL leads to a blocked address.", "Use a public URL."),
    ErrorCode(
        "fetch_failed", None, "The image server responded with an error or no file.", "Check the URL; it was retried."
    ),
    ErrorCode("fetch_timeout", None, "The image server was too slow.", "Check the server; it was retried."),
    ErrorCode("not_found", None, "There is no image at the URL.", "Check the URL, or upload the file again."),
    ErrorCode("access_denied", None, "The image server denied access.", "Use a public or presigned URL."),
    ErrorCode(
        "unsupported_media_type", None, "The file is not a supported image format.", "Send JPEG, PNG, WebP or HEIC."
    ),
    ErrorCode(
        "image_undecodable",
        None,
        "The image is corrupt or took too long to decode.",
        "Open it in a viewer and export it again.",
    ),
    ErrorCode("deadline_exceeded", None, "The job exceeded its time limit.", "Submit it again."),
    ErrorCode("poison", None, "Every process that handled the job crashed.", "Do not resend this file; report it."),
)

"""Every code that a problem document or a failed job may carry, in words. The page /docs/errors is made of it."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Code:
    """A stable error code. `status` is the HTTP status, None for codes that only failed jobs carry."""

    code: str
    status: int | None
    meaning: str
    advice: str


CODES = (
    Code("bad_request", 400, "The request cannot be read as HTTP or as a form.", "Check how it is put together."),
    Code("malformed_json", 400, "The body is not JSON.", "Check quotes and commas, and send it as UTF-8."),
    Code("invalid_cursor", 400, "The cursor is not one that a list gave.", "Start the list again without a cursor."),
    Code("key_required", 401, "The request has no API key.", "Send it as `Authorization: Bearer enrich_…`."),
    Code("key_invalid", 401, "The API key is unknown, wrong or revoked.", "Check it, or have another made."),
    Code("scope_missing", 403, "The API key may not do this.", "Use a key with the scope that the detail names."),
    Code("not_local", 403, "Without keys only requests of the service's own machine are taken.", "Set up keys."),
    Code("job_not_found", 404, "There is no such job under your key.", "Check the id."),
    Code("endpoint_not_found", 404, "There is no such webhook endpoint under your key.", "Check the id."),
    Code("delivery_not_found", 404, "There is no such delivery under your key.", "Check the id; old ones are deleted."),
    Code("route_not_found", 404, "There is nothing at this address.", "See the documentation for the routes."),
    Code("method_not_allowed", 405, "The address does not take this method.", "The header Allow says which it takes."),
    Code("job_conflict", 409, "The job is not in a state in which this can be done.", "Read the job again."),
    Code("endpoint_disabled", 409, "The webhook endpoint is disabled.", "Enable it; `disabled_reason` says why."),
    Code("too_many_endpoints", 409, "You have as many webhook endpoints as one may.", "Delete one that is not used."),
    Code("request_too_large", 413, "The request is larger than the service takes.", "Send a smaller picture."),
    Code("image_too_large", 413, "The picture's file or its pixels are over the limit.", "Send a smaller version."),
    Code("address_too_long", 414, "The request's own address is too long.", "Shorten the query."),
    Code("unsupported_content_type", 415, "The body's type is not taken.", "Send JSON, or multipart with `file`."),
    Code("range_not_satisfiable", 416, "The file has no such range.", "Ask without a range."),
    Code("invalid_request", 422, "A field is missing, misspelt or out of range.", "`errors` names each wrong field."),
    Code("invalid_address", 422, "The address is not one that can be asked.", "The detail says why."),
    Code("idempotency_key_reused", 422, "The Idempotency-Key came before with another request.", "Use a new key."),
    Code("rate_limited", 429, "The API key makes requests too fast.", "Try again after `Retry-After` seconds."),
    Code("too_many_queued", 429, "Too many jobs of yours wait already.", "Try again after `Retry-After` seconds."),
    Code("internal_error", 500, "Something went wrong on our side.", "Try again; tell us the request id if it stays."),
    Code("database_unavailable", 503, "The record cannot be reached.", "Try again after `Retry-After` seconds."),
    Code("storage_unavailable", 503, "Uploads cannot be stored or read right now.", "Try again in a few seconds."),
    Code("model_unavailable", 503, "No worker has its model ready.", "Start a worker, or wait for one."),
    Code("not_ready", 503, "The service cannot take jobs yet.", "`parts` says what is missing."),
    Code("fetch_blocked", None, "The address leads to a place that may not be asked.", "Use a public address."),
    Code("fetch_failed", None, "The picture's server answered with an error.", "Check the address; it was retried."),
    Code("fetch_timeout", None, "The picture's server was too slow.", "Check the server; it was retried."),
    Code("not_found", None, "There is no picture at the address.", "Check the address, or upload the file again."),
    Code("access_denied", None, "The picture's server wants credentials.", "Use a presigned or public address."),
    Code("unsupported_media_type", None, "The file is not a picture format we read.", "Send JPEG, PNG, WebP or HEIC."),
    Code("image_undecodable", None, "The file is broken.", "Open it in a viewer; export it again."),
    Code("deadline_exceeded", None, "The job took longer than it may.", "Submit it again."),
    Code("poison", None, "Every process that took the job died.", "Do not send this file again; tell us about it."),
)

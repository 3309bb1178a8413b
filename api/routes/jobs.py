"""Routes for jobs: create, get, list, cancel, retry."""

from __future__ import annotations

import uuid
from typing import Any

import structlog
from apiflask import APIBlueprint
from flask import Response, jsonify, url_for

from api.middleware.auth import owner_id
from api.request_parsing import read_submission, wait_preference
from api.schemas import examples
from api.schemas.jobs import (
    JobDocument,
    JobHeaders,
    JobPage,
    JobsQuery,
    WaitQuery,
)
from api.schemas.openapi import finished_response, problems
from api.services import services
from core.errors import JobConflict, JobNotFound
from core.jobs import lifecycle, queries, retry
from core.jobs.submission import is_repeat, submit
from core.states import Status

blueprint = APIBlueprint(
    "jobs", __name__, url_prefix="/v1/jobs", tag={"name": "Jobs", "description": "Enrichment jobs, one per image."}
)

Document = dict[str, Any]


@blueprint.post("")
@blueprint.doc(
    summary="Create a job",
    description="Send the URL of an image as JSON, or upload the image as multipart in the field `file`. The response "
    "is immediate (202), and `Location` is the job's URL. With `Prefer: wait=N` it waits for the result (200).",
    operation_id="createJob",
    responses={
        200: finished_response(examples.SUCCEEDED),
        **problems(
            "malformed_json",
            "request_too_large",
            "image_too_large",
            "unsupported_content_type",
            "invalid_request",
            "invalid_address",
            "idempotency_key_reused",
            "too_many_queued",
            "storage_unavailable",
            "database_unavailable",
        ),
    },
)
@blueprint.input(JobHeaders, location="headers", arg_name="headers")
@blueprint.output(JobDocument, status_code=202, description="The job was accepted.", example=examples.QUEUED)
def create_job(headers: JobHeaders) -> Response:
    # Checked before the body is read, because reading stores the upload. A repeated request creates no job and does not
    # count against the quota.
    if not is_repeat(services().sessions, owner_id(), headers.idempotency_key):
        services().quota.take(owner_id())
    job, is_new = submit(services().sessions, services().publisher, read_submission(headers))
    structlog.contextvars.bind_contextvars(job_id=str(job.id))
    if is_new:
        services().metrics.jobs_accepted.labels(job.lane, "upload" if job.is_upload else "address").inc()
    wait_s = wait_preference(headers.prefer)
    document, has_waited = read_document(job.id, wait_s or 0)
    response = jsonify(document)
    response.status_code = 200 if wait_s is not None and is_final(document) else 202
    response.headers["Location"] = url_for("jobs.get_job", job_id=job.id)
    if has_waited:
        response.headers["Preference-Applied"] = f"wait={capped_wait(wait_s or 0)}"
    if not is_new:
        response.headers["Idempotency-Replayed"] = "true"
    return response


@blueprint.get("/<job_id>")
@blueprint.doc(
    summary="Get a job",
    description="With `?wait=N` the response waits until the job is finished, for up to N seconds.",
    operation_id="getJob",
    responses=problems("job_not_found", "invalid_request", "database_unavailable"),
)
@blueprint.input(WaitQuery, location="query", arg_name="query")
@blueprint.output(JobDocument, description="The job.", example=examples.SUCCEEDED)
def get_job(job_id: str, query: WaitQuery) -> Response:
    return jsonify(read_document(parse_job_id(job_id), query.wait)[0])


@blueprint.get("")
@blueprint.doc(
    summary="List jobs",
    description="Newest first. Pass `next_cursor` as `cursor` to get the next page, until it is `null`.",
    operation_id="listJobs",
    responses=problems("invalid_cursor", "invalid_request", "database_unavailable"),
)
@blueprint.input(JobsQuery, location="query", arg_name="query")
@blueprint.output(JobPage, description="One page of jobs.", example=examples.PAGE)
def list_jobs(query: JobsQuery) -> Response:
    max_size = services().settings.api.page_size
    with services().sessions() as session:
        page = queries.list_jobs(
            session,
            owner_id(),
            limit=min(query.limit or max_size, max_size),
            cursor=query.cursor,
            status=query.status,
            external_id=query.external_id,
        )
    return jsonify({"jobs": page.jobs, "next_cursor": page.next_cursor})


@blueprint.post("/<job_id>/cancel")
@blueprint.doc(
    summary="Cancel a job",
    description="Cancels a queued or processing job immediately. Canceling a canceled job has no effect.",
    operation_id="cancelJob",
    responses=problems("job_not_found", "job_conflict", "database_unavailable"),
)
@blueprint.output(JobDocument, description="The canceled job.", example=examples.CANCELED)
def cancel_job(job_id: str) -> Response:
    with services().sessions.begin() as session:
        lifecycle.cancel(session, owner_id(), parse_job_id(job_id))
        document = queries.get_job(session, owner_id(), parse_job_id(job_id))
    if document["status"] != Status.CANCELED:
        raise JobConflict(f"the job has already {document['status']} and cannot be canceled")
    return jsonify(document)


@blueprint.post("/<job_id>/retry")
@blueprint.doc(
    summary="Retry a job",
    description="Queues a failed or canceled job again, with the same id and a fresh set of attempts.",
    operation_id="retryJob",
    responses=problems("job_not_found", "job_conflict", "database_unavailable"),
)
@blueprint.output(JobDocument, status_code=202, description="The job is queued again.", example=examples.QUEUED)
def retry_job(job_id: str) -> Response:
    is_queued = retry.retry(services().sessions, services().publisher, owner_id(), parse_job_id(job_id))
    document = _read(parse_job_id(job_id))
    if not is_queued:
        raise JobConflict(f"the job is {document['status']}; only failed and canceled jobs can be retried")
    response = jsonify(document)
    response.status_code = 202
    return response


def read_document(job_id: uuid.UUID, wait_s: int) -> tuple[Document, bool]:
    """Returns the job after waiting up to `wait_s` seconds for it to finish, and whether a waiting slot was free."""

    def read_if_final() -> Document | None:
        document = _read(job_id)
        return document if is_final(document) else None

    has_waited = False
    if capped_wait(wait_s) > 0:
        has_waited, final = services().long_poll.wait(job_id, capped_wait(wait_s), read_if_final)
        if final is not None:
            return final, has_waited
    return _read(job_id), has_waited


def _read(job_id: uuid.UUID) -> Document:
    with services().sessions() as session:
        return queries.get_job(session, owner_id(), job_id)


def capped_wait(wait_s: int) -> int:
    """Limits a requested wait to the maximum, in seconds."""
    return min(wait_s, services().settings.api.max_wait_s)


def is_final(document: Document) -> bool:
    """Whether the job's status is final."""
    return Status(document["status"]).is_final


def parse_job_id(text: str) -> uuid.UUID:
    """Parses an id. Raises JobNotFound if it is not a UUID, as for an unknown id."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise JobNotFound("no such job; check the id") from None

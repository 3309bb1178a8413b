"""The routes of jobs: make, read, list, cancel, retry."""

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
from api.schemas.openapi import ended_answer, problems
from api.services import resources
from core.errors import JobConflict, JobNotFound
from core.jobs import lifecycle, queries, retry
from core.jobs.submission import is_repeat, submit
from core.states import Status

blueprint = APIBlueprint(
    "jobs", __name__, url_prefix="/v1/jobs", tag={"name": "Jobs", "description": "Pictures to be described."}
)

Document = dict[str, Any]


@blueprint.post("")
@blueprint.doc(
    summary="Make a job",
    description="Give the address of a picture as JSON, or the picture itself as multipart in the field `file`. "
    "The answer comes at once (202) and tells where to look; with `Prefer: wait=N` it comes with the result (200).",
    operation_id="createJob",
    responses={
        200: ended_answer(examples.SUCCEEDED),
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
@blueprint.output(JobDocument, status_code=202, description="The job is accepted.", example=examples.QUEUED)
def create_job(headers: JobHeaders) -> Response:
    # Before the body is read: an upload would be stored already. A repeat makes no job, so it needs no room.
    if not is_repeat(resources().sessions, owner_id(), headers.idempotency_key):
        resources().quota.take(owner_id())
    job, is_new = submit(resources().sessions, resources().publisher, read_submission(headers))
    structlog.contextvars.bind_contextvars(job_id=str(job.id))
    if is_new:
        resources().metrics.jobs_accepted.labels(job.lane, "upload" if job.is_upload else "address").inc()
    wait_s = wait_preference(headers.prefer)
    document, has_waited = read_document(job.id, wait_s or 0)
    response = jsonify(document)
    response.status_code = 200 if wait_s is not None and is_final(document) else 202
    response.headers["Location"] = url_for("jobs.get_job", job_id=job.id)
    if has_waited:
        response.headers["Preference-Applied"] = f"wait={cut_wait(wait_s or 0)}"
    if not is_new:
        response.headers["Idempotency-Replayed"] = "true"
    return response


@blueprint.get("/<job_id>")
@blueprint.doc(
    summary="Read a job",
    description="With `?wait=N` the answer comes when the job has ended, or after N seconds.",
    operation_id="getJob",
    responses=problems("job_not_found", "invalid_request", "database_unavailable"),
)
@blueprint.input(WaitQuery, location="query", arg_name="query")
@blueprint.output(JobDocument, description="The job as it stands.", example=examples.SUCCEEDED)
def get_job(job_id: str, query: WaitQuery) -> Response:
    return jsonify(read_document(parse_job_id(job_id), query.wait)[0])


@blueprint.get("")
@blueprint.doc(
    summary="List jobs",
    description="Newest first. Follow `next_cursor` until it is `null`.",
    operation_id="listJobs",
    responses=problems("invalid_cursor", "invalid_request", "database_unavailable"),
)
@blueprint.input(JobsQuery, location="query", arg_name="query")
@blueprint.output(JobPage, description="One page of jobs.", example=examples.PAGE)
def list_jobs(query: JobsQuery) -> Response:
    most = resources().settings.api.page_size
    with resources().sessions() as session:
        page = queries.list_page(
            session,
            owner_id(),
            limit=min(query.limit or most, most),
            cursor=query.cursor,
            status=query.status,
            external_id=query.external_id,
        )
    return jsonify({"jobs": page.jobs, "next_cursor": page.next_cursor})


@blueprint.post("/<job_id>/cancel")
@blueprint.doc(
    summary="Cancel a job",
    description="At once, also while it is processed. Canceling a canceled job changes nothing.",
    operation_id="cancelJob",
    responses=problems("job_not_found", "job_conflict", "database_unavailable"),
)
@blueprint.output(JobDocument, description="The job, canceled.", example=examples.CANCELED)
def cancel_job(job_id: str) -> Response:
    with resources().sessions.begin() as session:
        lifecycle.cancel(session, owner_id(), parse_job_id(job_id))
        document = queries.get_document(session, owner_id(), parse_job_id(job_id))
    if document["status"] != Status.CANCELED:
        raise JobConflict(f"the job has {document['status']} already; there is nothing to cancel")
    return jsonify(document)


@blueprint.post("/<job_id>/retry")
@blueprint.doc(
    summary="Retry a job",
    description="Puts a failed or canceled job back into the queue under its id, with all its tries.",
    operation_id="retryJob",
    responses=problems("job_not_found", "job_conflict", "database_unavailable"),
)
@blueprint.output(JobDocument, status_code=202, description="The job, queued again.", example=examples.QUEUED)
def retry_job(job_id: str) -> Response:
    has_begun = retry.retry(resources().sessions, resources().publisher, owner_id(), parse_job_id(job_id))
    document = _read(parse_job_id(job_id))
    if not has_begun:
        raise JobConflict(f"the job is {document['status']}; only a failed or canceled one can be tried again")
    response = jsonify(document)
    response.status_code = 202
    return response


def read_document(job_id: uuid.UUID, wait_s: int) -> tuple[Document, bool]:
    """The job, after waiting at most `wait_s` seconds for its end; and whether there was room to wait."""

    def look() -> Document | None:
        document = _read(job_id)
        return document if is_final(document) else None

    has_waited = False
    if cut_wait(wait_s) > 0:
        has_waited, ended = resources().waiting.wait(job_id, cut_wait(wait_s), look)
        if ended is not None:
            return ended, has_waited
    return _read(job_id), has_waited


def _read(job_id: uuid.UUID) -> Document:
    with resources().sessions() as session:
        return queries.get_document(session, owner_id(), job_id)


def cut_wait(wait_s: int) -> int:
    """The wait that is granted, in seconds."""
    return min(wait_s, resources().settings.api.max_wait_s)


def is_final(document: Document) -> bool:
    """Whether nothing will change any more."""
    return Status(document["status"]).is_final


def parse_job_id(text: str) -> uuid.UUID:
    """Raises JobNotFound: what is no id names no job."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise JobNotFound("there is no such job under your key; check the id") from None

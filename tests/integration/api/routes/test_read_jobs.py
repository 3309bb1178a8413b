"""Getting, listing and canceling jobs."""

from __future__ import annotations

import uuid

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from core.db.engine import Sessions
from core.db.models import Job
from core.errors import FetchTimeout
from core.jobs import lifecycle
from core.jobs.queue import Publisher
from tests.integration.api.routes.test_create_job import assert_problem
from tests.records import METADATA, claim_job, finish_job, new_job


def test_a_succeeded_job_has_its_result(client: FlaskClient, sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)
    claim = claim_job(sessions, job.id)
    assert claim
    assert finish_job(sessions, claim)

    document = client.get(f"/v1/jobs/{job.id}").get_json()

    assert document["status"] == "succeeded"
    assert document["metadata"] == METADATA
    assert document["predictions"]["season"]["alternatives"] == [{"value": "Fall", "score": 0.41}]
    assert document["asset"]["width"] == 1800
    assert document["model"] == {"bundle": "fashion", "version": "0.1.0", "taxonomy": "1"}
    assert document["finished_at"].endswith("Z")
    assert document["error"] is None


def test_a_failed_job_has_its_error(client: FlaskClient, sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)
    claim = claim_job(sessions, job.id)
    assert claim
    with sessions.begin() as session:
        assert lifecycle.fail(session, claim, FetchTimeout("the picture's server was too slow"))

    document = client.get(f"/v1/jobs/{job.id}").get_json()

    assert document["status"] == "failed"
    assert document["error"] == {
        "code": "fetch_timeout",
        "message": "the picture's server was too slow",
        "retryable": True,
    }


@pytest.mark.parametrize("job_id", ["de6dd8e0-d800-4189-887d-a21b3c395fc1", "7", "a b", "%00"])
def test_an_unknown_job_is_404(client: FlaskClient, job_id: str) -> None:
    assert_problem(client.get(f"/v1/jobs/{job_id}"), 404, "job_not_found")
    assert_problem(client.post(f"/v1/jobs/{job_id}/cancel"), 404, "job_not_found")


def test_another_owners_job_is_404(client: FlaskClient, sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher, owner_id="somebody-else")

    assert_problem(client.get(f"/v1/jobs/{job.id}"), 404, "job_not_found")
    assert_problem(client.post(f"/v1/jobs/{job.id}/cancel"), 404, "job_not_found")
    assert client.get("/v1/jobs").get_json() == {"jobs": [], "next_cursor": None}


@pytest.mark.parametrize("wait", ["-1", "a", "1.5", ""])
def test_an_invalid_wait_is_rejected(client: FlaskClient, wait: str) -> None:
    problem = assert_problem(client.get(f"/v1/jobs/{uuid.uuid4()}?wait={wait}"), 422, "invalid_request")

    assert problem["errors"][0] | {"message": ""} == {"location": "query", "field": "wait", "message": ""}


def test_paging_lists_each_job_once_even_with_equal_timestamps(
    client: FlaskClient, sessions: Sessions, publisher: Publisher
) -> None:
    made = {str(new_job(sessions, publisher).id) for _ in range(7)}
    with sessions.begin() as session:
        session.execute(update(Job).values(created_at="2026-01-01T00:00:00Z"))

    seen: list[str] = []
    path = "/v1/jobs?limit=3"
    sizes = []
    while path:
        page = client.get(path).get_json()
        seen += [job["id"] for job in page["jobs"]]
        sizes.append(len(page["jobs"]))
        path = f"/v1/jobs?limit=3&cursor={page['next_cursor']}" if page["next_cursor"] else ""

    assert sizes == [3, 3, 1]
    assert len(seen) == 7
    assert set(seen) == made


def test_jobs_are_listed_newest_first_and_new_jobs_do_not_shift_pages(
    client: FlaskClient, sessions: Sessions, publisher: Publisher
) -> None:
    first, second = (str(new_job(sessions, publisher).id) for _ in range(2))

    page = client.get("/v1/jobs?limit=1").get_json()
    new_job(sessions, publisher)
    following = client.get(f"/v1/jobs?cursor={page['next_cursor']}").get_json()

    assert [job["id"] for job in page["jobs"]] == [second]
    assert [job["id"] for job in following["jobs"]] == [first]


def test_filters(client: FlaskClient, sessions: Sessions, publisher: Publisher) -> None:
    queued = new_job(sessions, publisher, external_id="sku-1")
    canceled = new_job(sessions, publisher, external_id="sku-1")
    new_job(sessions, publisher, external_id="sku-2")
    client.post(f"/v1/jobs/{canceled.id}/cancel")

    def ids(query: str) -> set[str]:
        return {job["id"] for job in client.get(f"/v1/jobs?{query}").get_json()["jobs"]}

    assert ids("external_id=sku-1") == {str(queued.id), str(canceled.id)}
    assert ids("status=canceled") == {str(canceled.id)}
    assert ids("status=queued&external_id=sku-1") == {str(queued.id)}
    assert ids("external_id=sku-3") == set()


@pytest.mark.parametrize("cursor", ["x", "e30=", "W10=", "bnVsbA==", "a" * 300, "%00", "WyIyMDI2IiwiMSJd"])
def test_an_invalid_cursor_is_rejected(client: FlaskClient, cursor: str) -> None:
    assert_problem(client.get(f"/v1/jobs?cursor={cursor}"), 400, "invalid_cursor")


@pytest.mark.parametrize("query", ["status=lost", "limit=0", "limit=1001", "external_id=", "stauts=queued"])
def test_an_invalid_filter_is_named(client: FlaskClient, query: str) -> None:
    problem = assert_problem(client.get(f"/v1/jobs?{query}"), 422, "invalid_request")

    assert problem["errors"][0]["field"] == query.partition("=")[0]


def test_canceling_is_immediate_and_idempotent(client: FlaskClient, sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)
    claim = claim_job(sessions, job.id)
    assert claim

    for _ in range(2):
        response = client.post(f"/v1/jobs/{job.id}/cancel")
        assert (response.status_code, response.get_json()["status"]) == (200, "canceled")

    assert not finish_job(sessions, claim)


def test_a_finished_job_cannot_be_canceled(client: FlaskClient, sessions: Sessions, publisher: Publisher) -> None:
    job = new_job(sessions, publisher)
    claim = claim_job(sessions, job.id)
    assert claim
    finish_job(sessions, claim)

    problem = assert_problem(client.post(f"/v1/jobs/{job.id}/cancel"), 409, "job_conflict")

    assert "succeeded" in problem["detail"]

"""POST /v1/jobs/{id}/retry, and retrying many jobs by command."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import uuid
from pathlib import Path

from flask.testing import FlaskClient
from pydantic import SecretStr
from redis import Redis

from cli.local.postgres import EmbeddedPostgres
from cli.local.redis import EmbeddedRedis
from core.db.engine import (
    Sessions,
    make_engine,
    make_sessions,
    migrate,
)
from core.db.models import LOCAL_OWNER, Job
from core.errors import ImageUndecodable, JobError, NotFound
from core.jobs import lifecycle, retry
from core.jobs.queue import Publisher, queue_name
from core.settings import DatabaseSettings, QueueSettings, Settings
from core.states import Lane, Status
from tests.integration.api.routes.test_create_job import assert_problem
from tests.processes import ROOT, environment
from tests.records import claim_job, finish_job, new_job, read_job

GONE = NotFound("there is no image at this address")


def failed_job(
    sessions: Sessions,
    publisher: Publisher,
    error: JobError = GONE,
    *,
    owner_id: str = LOCAL_OWNER,
    lane: Lane = Lane.INTERACTIVE,
) -> uuid.UUID:
    job = new_job(sessions, publisher, owner_id=owner_id, lane=lane)
    claim = claim_job(sessions, job.id)
    assert claim
    with sessions.begin() as session:
        row = session.get_one(Job, job.id)
        row.retries, row.crashes = 4, 2
        lifecycle.fail(session, claim, error)
    return job.id


def test_a_failed_job_is_retried_under_the_same_id(
    client: FlaskClient, sessions: Sessions, publisher: Publisher
) -> None:
    job_id = failed_job(sessions, publisher)
    published = publisher.inspect(Lane.INTERACTIVE).length

    response = client.post(f"/v1/jobs/{job_id}/retry")

    assert response.status_code == 202
    document = response.get_json()
    assert (document["id"], document["status"], document["error"]) == (str(job_id), "queued", None)
    assert (document["started_at"], document["finished_at"]) == (None, None)
    assert publisher.inspect(Lane.INTERACTIVE).length == published + 1
    row = read_job(sessions, job_id)
    assert (row.retries, row.crashes, row.attempt) == (0, 0, 1)
    claim = claim_job(sessions, job_id)
    assert claim
    assert finish_job(sessions, claim)


def test_the_result_of_the_old_worker_is_discarded_after_a_retry(
    client: FlaskClient, sessions: Sessions, publisher: Publisher
) -> None:
    job = new_job(sessions, publisher)
    old = claim_job(sessions, job.id)
    client.post(f"/v1/jobs/{job.id}/cancel")

    assert client.post(f"/v1/jobs/{job.id}/retry").status_code == 202

    new = claim_job(sessions, job.id)
    assert old
    assert new
    assert not finish_job(sessions, old)
    assert finish_job(sessions, new)


def test_only_failed_and_canceled_jobs_are_retried(
    client: FlaskClient, sessions: Sessions, publisher: Publisher
) -> None:
    job = new_job(sessions, publisher)
    told = []
    for move in (claim_job, finish_job, None):
        told.append(assert_problem(client.post(f"/v1/jobs/{job.id}/retry"), 409, "job_conflict")["detail"])
        if move is claim_job:
            claim = claim_job(sessions, job.id)
        elif move is finish_job:
            assert claim
            finish_job(sessions, claim)
    assert [detail.split(";")[0].split()[-1] for detail in told] == ["queued", "processing", "succeeded"]


def test_unknown_jobs_and_those_of_other_owners_are_404(
    client: FlaskClient, sessions: Sessions, publisher: Publisher
) -> None:
    theirs = failed_job(sessions, publisher, owner_id="somebody-else")
    for job_id in (theirs, uuid.uuid4(), "7"):
        assert_problem(client.post(f"/v1/jobs/{job_id}/retry"), 404, "job_not_found")
    assert read_job(sessions, theirs).status == Status.FAILED


def test_without_redis_the_job_is_left_to_the_sweeper(
    settings: Settings, sessions: Sessions, publisher: Publisher
) -> None:
    job_id = failed_job(sessions, publisher)
    nowhere = settings.queue.model_copy(update={"url": SecretStr("redis://127.0.0.1:1/0")})
    broken = Publisher(settings.model_copy(update={"queue": nowhere}))
    assert retry.retry(sessions, broken, LOCAL_OWNER, job_id)
    broken.close()
    row = read_job(sessions, job_id)
    assert (row.status, row.published_at) == (Status.QUEUED, None)


def test_many_are_retried_by_code_and_owner_up_to_a_limit(sessions: Sessions, publisher: Publisher) -> None:
    gone = [failed_job(sessions, publisher) for _ in range(3)]
    bulk = [failed_job(sessions, publisher, lane=Lane.BULK) for _ in range(2)]
    broken = failed_job(sessions, publisher, ImageUndecodable("the file is damaged"))
    theirs = failed_job(sessions, publisher, owner_id="somebody-else")

    assert retry.retry_failed(sessions, publisher, LOCAL_OWNER, code="not_found", limit=2) == 2
    assert [read_job(sessions, job_id).status for job_id in gone] == ["queued", "queued", "failed"]
    assert retry.retry_failed(sessions, publisher, LOCAL_OWNER, code="not_found") == 3
    assert {read_job(sessions, job_id).status for job_id in [*gone, *bulk]} == {"queued"}
    assert {read_job(sessions, job_id).status for job_id in (broken, theirs)} == {"failed"}
    assert retry.retry_failed(sessions, publisher, LOCAL_OWNER) == 1


def test_the_command(settings: Settings, sessions: Sessions, publisher: Publisher) -> None:
    failed_job(sessions, publisher)
    command = [sys.executable, "-m", "cli.main", "jobs", "retry", "--failed", "--code", "not_found"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(settings), check=True, cwd=ROOT)
    assert json.loads(done.stdout) == {"retried": 1}


def test_the_command_finds_the_servers_of_a_running_up(tmp_path: Path) -> None:
    postgres, redis = EmbeddedPostgres(tmp_path / "postgres", durable=False), EmbeddedRedis(tmp_path / "redis")
    with postgres, redis:
        database = DatabaseSettings(url=SecretStr(postgres.url))
        settings = Settings(database=database, queue=QueueSettings(url=SecretStr(redis.url)))
        migrate(settings)
        engine, publisher = make_engine(settings), Publisher(settings)
        job_id = failed_job(make_sessions(engine), publisher)
        publisher.close()
        engine.dispose()
        with Redis.from_url(redis.url) as client:
            client.flushall()
            command = [
                sys.executable,
                "-m",
                "cli.main",
                "jobs",
                "retry",
                "--failed",
                "--data-dir",
                str(tmp_path),
            ]
            done = subprocess.run(
                command, capture_output=True, text=True, env=environment(Settings()), check=True, cwd=ROOT
            )
            (message,) = client.lrange(queue_name(Lane.INTERACTIVE), 0, -1)
    assert json.loads(done.stdout) == {"retried": 1}
    assert str(job_id).encode() in base64.b64decode(json.loads(message)["body"])

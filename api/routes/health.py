"""Health probes: `/healthz` reports whether the process runs, `/readyz` whether it can accept jobs."""

from __future__ import annotations

import functools

from alembic.script import ScriptDirectory
from apiflask import APIBlueprint
from flask import Response, jsonify
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from api.middleware.problems import NotReady
from api.schemas import examples
from api.schemas.jobs import HealthDocument, ReadinessDocument
from api.schemas.openapi import problems
from api.services import Services, services
from core.db.engine import alembic_config
from core.errors import JobError
from core.storage.uploads import Storage
from core.telemetry.logs import get_logger

log = get_logger(__name__)

blueprint = APIBlueprint("health", __name__, tag={"name": "Health", "description": "Health probes."})

OK = "ok"
# Without the queue jobs are still accepted, and published once it is back.
NOT_REQUIRED = frozenset({"redis"})


@blueprint.get("/healthz")
@blueprint.doc(summary="Liveness probe", description="Checks no dependencies.", operation_id="getHealth")
@blueprint.output(HealthDocument, description="The process is running.", example={"status": OK})
def healthz() -> Response:
    return jsonify({"status": OK})


@blueprint.get("/readyz")
@blueprint.doc(
    summary="Readiness probe",
    description="Requires Postgres with a current schema, and the upload storage. Without Redis jobs are still "
    "accepted (`degraded`).",
    operation_id="getReadiness",
    responses=problems("not_ready", is_public=True),
)
@blueprint.output(ReadinessDocument, description="The service can accept jobs.", example=examples.READY)
def readyz() -> Response:
    parts = check_dependencies(services())
    missing = [name for name, state in parts.items() if state != OK and name not in NOT_REQUIRED]
    if missing:
        raise NotReady(f"not ready: {', '.join(f'{name} is {parts[name]}' for name in missing)}", parts)
    is_complete = all(state == OK for state in parts.values())
    return jsonify({"status": "ready" if is_complete else "degraded", "parts": parts})


def check_dependencies(all_services: Services) -> dict[str, str]:
    """Returns the state of each dependency: `ok`, `down`, `missing`, `outdated` or `unknown`."""
    revision = _read_revision(all_services.engine)
    return {
        "postgres": "down" if isinstance(revision, SQLAlchemyError) else OK,
        "schema": "unknown" if isinstance(revision, SQLAlchemyError) else _schema_state(revision),
        "storage": _storage_state(all_services.storage),
        "redis": OK if all_services.publisher.is_reachable() else "down",
    }


def _read_revision(engine: Engine) -> str | SQLAlchemyError | None:
    """Returns the schema's revision, None if there is no schema, or the error if Postgres is down."""
    try:
        return _query_revision(engine)
    except SQLAlchemyError as error:
        return error


def _query_revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not connection.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL")):
            return None
        revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return revision


def _schema_state(revision: str | None) -> str:
    head, known = _revisions()
    if revision is None:
        return "missing"
    # An unknown revision is newer than this release, and compatible: migrations expand before they contract.
    return OK if revision == head or revision not in known else "outdated"


@functools.cache
def _revisions() -> tuple[str | None, frozenset[str]]:
    scripts = ScriptDirectory.from_config(alembic_config())
    return scripts.get_current_head(), frozenset(script.revision for script in scripts.walk_revisions())


def _storage_state(storage: Storage) -> str:
    try:
        storage.check()
    except JobError as error:
        log.warning("storage_not_ready", code=error.code, exc_info=error)
        return "down"
    return OK

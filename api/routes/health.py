"""Probes: `/healthz` says that the process runs, `/readyz` that it can take jobs."""

from __future__ import annotations

import functools
from collections.abc import Callable

from alembic.script import ScriptDirectory
from apiflask import APIBlueprint
from flask import Response, jsonify
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from api.middleware.problems import NotReady
from api.schemas import examples
from api.schemas.jobs import HealthDocument, ReadinessDocument
from api.schemas.openapi import problems
from api.services import Resources, resources
from core.db.engine import alembic_config
from core.errors import JobError
from core.telemetry.logs import get_logger

log = get_logger(__name__)

blueprint = APIBlueprint("health", __name__, tag={"name": "Health", "description": "For probes."})

OK = "ok"
# A job is accepted without the queue, and published once it is back.
NOT_REQUIRED = frozenset({"redis"})


@blueprint.get("/healthz")
@blueprint.doc(summary="Is it alive?", description="Asks nothing of anybody else.", operation_id="getHealth")
@blueprint.output(HealthDocument, description="The process runs.", example={"status": OK})
def healthz() -> Response:
    return jsonify({"status": OK})


@blueprint.get("/readyz")
@blueprint.doc(
    summary="Is it ready?",
    description="Postgres, its schema and the storage are needed. Without Redis jobs are still accepted (`degraded`).",
    operation_id="getReadiness",
    responses=problems("not_ready", is_public=True),
)
@blueprint.output(ReadinessDocument, description="Jobs can be taken.", example=examples.READY)
def readyz() -> Response:
    parts = check_parts(resources())
    missing = [name for name, state in parts.items() if state != OK and name not in NOT_REQUIRED]
    if missing:
        raise NotReady(f"not ready: {', '.join(f'{name} is {parts[name]}' for name in missing)}", parts)
    is_whole = all(state == OK for state in parts.values())
    return jsonify({"status": "ready" if is_whole else "degraded", "parts": parts})


def check_parts(all_parts: Resources) -> dict[str, str]:
    """The state of each part we depend on: `ok`, or a word for what is wrong."""
    revision = _ask(lambda: _revision(all_parts.engine))
    return {
        "postgres": "down" if isinstance(revision, SQLAlchemyError) else OK,
        "schema": "unknown" if isinstance(revision, SQLAlchemyError) else _schema_state(revision),
        "storage": _storage_state(all_parts),
        "redis": OK if all_parts.publisher.is_reachable() else "down",
    }


def _ask(question: Callable[[], str | None]) -> str | SQLAlchemyError | None:
    try:
        return question()
    except SQLAlchemyError as error:
        return error


def _revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not connection.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL")):
            return None
        revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return revision


def _schema_state(revision: str | None) -> str:
    head, known = _revisions()
    if revision is None:
        return "missing"
    # Migrations expand before they contract: a revision that we do not know is newer than we are, and fits.
    return OK if revision == head or revision not in known else "outdated"


@functools.cache
def _revisions() -> tuple[str | None, frozenset[str]]:
    scripts = ScriptDirectory.from_config(alembic_config())
    return scripts.get_current_head(), frozenset(script.revision for script in scripts.walk_revisions())


def _storage_state(all_parts: Resources) -> str:
    try:
        all_parts.storage.check()
    except JobError as error:
        log.warning("storage_not_ready", code=error.code, exc_info=error)
        return "down"
    return OK

"""The JSON form of a job, used by API responses and webhook bodies."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import Select, select

from core.db.models import Asset, Job, Result
from core.net.urls import redact_url


def select_jobs() -> Select[Job, Result | None, Asset | None]:
    """Returns a query for jobs whose rows are the arguments of `serialize_job`."""
    return (
        select(Job, Result, Asset)
        .outerjoin(Result, Result.id == Job.current_result_id)
        .outerjoin(Asset, Asset.id == Result.asset_id)
    )


def serialize_job(job: Job, result: Result | None, asset: Asset | None) -> dict[str, Any]:
    """Returns the job as JSON. All keys are always present; values that do not exist yet are `null`."""
    return {
        "id": str(job.id),
        "status": job.status,
        "external_id": job.external_id,
        "lane": job.lane,
        "created_at": iso(job.created_at),
        "started_at": iso(job.started_at),
        "finished_at": iso(job.finished_at),
        "asset": _asset(job, asset),
        "metadata": result.answer if result else None,
        "predictions": result.predictions if result else None,
        "caption_source": result.caption_source if result else None,
        "in_domain": result.in_domain if result else None,
        "model": _model(result),
        "timings": result.timings if result else None,
        "error": job.error,
    }


def _asset(job: Job, asset: Asset | None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "url": redact_url(job.address),
        "sha256": None,
        "width": None,
        "height": None,
        "format": None,
    }
    if asset:
        document |= {"sha256": asset.sha256, "width": asset.width, "height": asset.height, "format": asset.format}
    return document


def _model(result: Result | None) -> dict[str, Any] | None:
    if result is None:
        return None
    return {"bundle": result.bundle_name, "version": result.bundle_version, "taxonomy": result.taxonomy_version}


def iso(moment: dt.datetime | None) -> str | None:
    """Formats the time as in the API: ISO 8601 in UTC, with a `Z`."""
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z") if moment else None

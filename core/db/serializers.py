"""A job as JSON: the one form that the API answers and a webhook carries."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import Select, select

from core.db.models import Asset, Job, Result
from core.net.urls import redacted


def select_documents() -> Select[Job, Result | None, Asset | None]:
    """The rows that `job_document` takes, for a query of jobs."""
    return (
        select(Job, Result, Asset)
        .outerjoin(Result, Result.id == Job.current_result_id)
        .outerjoin(Asset, Asset.id == Result.asset_id)
    )


def job_document(job: Job, result: Result | None, asset: Asset | None) -> dict[str, Any]:
    """The job as its owner sees it. What does not exist yet is `null`, so that the keys are always the same."""
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
        "url": redacted(job.address),
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
    """The moment as the API writes it: UTC, ISO 8601, with a `Z`."""
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z") if moment else None

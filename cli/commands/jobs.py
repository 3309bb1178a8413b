"""`enrich jobs`: maintenance of jobs in the database."""

from __future__ import annotations

from pathlib import Path

import click

from cli.options import running_data_dir_option, settings_of
from cli.output import echo_json


@click.group()
def jobs() -> None:
    """Maintain jobs in the database."""


@jobs.command("retry")
@click.option("--failed", is_flag=True, help="Retry failed jobs. Required, because it is the only choice so far.")
@click.option("--code", help="Only jobs with this error code, such as fetch_failed.")
@click.option("--owner", default="local", show_default=True, help="Owner of the jobs.")
@click.option("--limit", type=click.IntRange(min=1), help="Maximum number of jobs, oldest first; all if unset.")
@running_data_dir_option
def retry_jobs(failed: bool, code: str | None, owner: str, limit: int | None, data_dir: Path | None) -> None:
    """Queue failed jobs again, and print how many."""
    from core.jobs.retry import retry_from_settings

    if not failed:
        raise click.UsageError("select jobs with --failed")
    echo_json({"retried": retry_from_settings(settings_of(data_dir), owner, code=code, limit=limit)})

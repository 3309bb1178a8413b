"""Commands that run the service: `up` for all of it, and one command per process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import read_settings
from cli.output import exit_on

if TYPE_CHECKING:
    from core.settings import Settings

# How child processes are started. `-P` keeps the current folder off the import path: it may contain a folder with the
# name of one of our packages.
ENRICH_COMMAND = (sys.executable, "-P", "-m", "cli.main")


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default="data",
    show_default=True,
    help="Folder for all data of the service.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8000,
    show_default=True,
    envvar="ENRICH_API__PORT",
    help="Port of the API.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    envvar="ENRICH_API__HOST",
    help="Address on which the API listens.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65533),
    envvar="ENRICH_METRICS__PORT",
    help="Port for the metrics of the interactive worker; the bulk worker and the dispatcher use the next two ports.",
)
def up(data_dir: Path, port: int, host: str, metrics_port: int | None) -> None:
    """Run the whole service on this machine; Ctrl-C stops it.

    This also starts Postgres and Redis, unless ENRICH_DATABASE__URL and ENRICH_QUEUE__URL point to other servers.
    """
    from cli.local.console import Console
    from cli.local.up import Up, UpOptions
    from core.startup_errors import StartError
    from core.telemetry.tracing import check_tracing

    settings = read_settings()
    with exit_on(StartError):
        check_tracing(settings.tracing)
        Up(UpOptions(ENRICH_COMMAND, data_dir, host, port, metrics_port), Console(sys.stdout)).run()


@click.command()
def api() -> None:
    """Run the HTTP API."""
    from api.server import serve
    from core.startup_errors import StartError

    settings = read_settings()
    with exit_on(StartError):
        serve(settings)


@click.command()
@click.option("--lane", type=click.Choice(["interactive", "bulk"]), help="Process one lane only; both lanes if unset.")
def worker(lane: str | None) -> None:
    """Run a worker, which processes queued jobs."""
    settings = read_settings()
    if lane is None:
        _run_both_lanes(settings)
    else:
        _run_lane(settings, lane)


def _run_both_lanes(settings: Settings) -> None:
    from cli.local.console import Console
    from cli.local.lanes import run_lanes
    from core.startup_errors import StartError
    from core.telemetry.tracing import check_tracing

    with exit_on(StartError):
        check_tracing(settings.tracing)
        run_lanes(settings, ENRICH_COMMAND, Console(sys.stdout))


def _run_lane(settings: Settings, lane: str) -> None:
    from core.startup_errors import StartError
    from model.bundle import BundleError
    from worker.main import run

    with exit_on(StartError, BundleError):
        sys.exit(run(settings, lane))


@click.command()
def dispatcher() -> None:
    """Run the dispatcher, which sends webhooks, requeues lost jobs and deletes expired data."""
    from core.startup_errors import StartError
    from dispatcher.main import run

    settings = read_settings()
    with exit_on(StartError):
        sys.exit(run(settings))


@click.command()
def migrate() -> None:
    """Upgrade the database schema to this release."""
    from core.db.engine import migrate as upgrade_schema

    upgrade_schema(read_settings())

"""Runs the bench and prints its table: `python -m tests.bench [--images N]`."""

from __future__ import annotations

import socket
import statistics
import tempfile
from pathlib import Path

import click
from pydantic import SecretStr

from cli.local.postgres import EmbeddedPostgres
from cli.local.redis import EmbeddedRedis
from core.db.engine import migrate
from core.settings import (
    ApiSettings,
    DatabaseSettings,
    FetchSettings,
    QueueSettings,
    Settings,
)
from core.states import Lane
from tests.bench import subjects
from tests.bench.pictures import served


@click.command()
@click.option("--images", default=1000, show_default=True, help="pictures per subject")
@click.option("--single", default=100, show_default=True, help="jobs for the one-at-a-time subject")
def main(images: int, single: int) -> None:
    """One table, one run: the limit, the service, and a plain Celery task, on the same pictures and model."""
    with tempfile.TemporaryDirectory() as folder, served(max(images, single + 1)) as addresses:
        root = Path(folder)
        with EmbeddedPostgres(root / "postgres") as postgres, EmbeddedRedis(root / "redis") as redis:
            settings = _settings(postgres.url, redis.url)
            migrate(settings)
            _measure(settings, addresses[:images], addresses[: single + 1])


def _measure(settings: Settings, addresses: list[str], few: list[str]) -> None:
    limit = subjects.bare_loop(settings, addresses)
    click.echo(f"{len(addresses)} pictures of 900x1200 over HTTP, batch size {settings.worker.max_batch_size}\n")
    click.echo(f"{'subject':<44}{'images/s':>10}{'of the limit':>14}")
    _row("bare loop: fetch + decode + predict (the limit)", limit, limit)
    for lane in Lane:
        _row(
            f"service at saturation, {lane.value} lane",
            subjects.service_at_saturation(settings, addresses, lane),
            limit,
        )
    _row("a plain Celery task per image", subjects.plain_celery_task(settings, addresses), limit)
    seconds = sorted(subjects.one_at_a_time(settings, few))
    p50, p95 = statistics.median(seconds), seconds[int(0.95 * (len(seconds) - 1))]
    click.echo(
        f"\none job at a time through HTTP: p50 {p50 * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms ({len(seconds)} jobs)"
    )


def _row(name: str, images_per_s: float, limit: float) -> None:
    click.echo(f"{name:<44}{images_per_s:>10.0f}{images_per_s / limit:>13.2f}x")


def _settings(database_url: str, redis_url: str) -> Settings:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return Settings(
        database=DatabaseSettings(url=SecretStr(database_url)),
        queue=QueueSettings(url=SecretStr(redis_url)),
        fetch=FetchSettings(allow_networks=("127.0.0.0/8",)),
        api=ApiSettings(require_key=False, port=port),
        log_level="warning",
    )


if __name__ == "__main__":
    main()

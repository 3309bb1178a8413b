"""How fast webhooks go out while some endpoints are dead: `python -m tests.bench.webhooks [--deliveries N] …`.

Half of the dead endpoints refuse connections, the other half take them and never answer. All deliveries wait when the
dispatcher starts; half-way it gets `kill -9`, and another takes over. Ends with one line of figures.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import psutil
import urllib3
from pydantic import SecretStr
from sqlalchemy import func, insert, select

from cli.local.postgres import EmbeddedPostgres
from core.db.engine import (
    Sessions,
    make_engine,
    make_sessions,
    migrate,
)
from core.db.webhook_models import WebhookDelivery, WebhookEvent
from core.settings import DatabaseSettings, FetchSettings, Settings
from tests.processes import ROOT, running, wait_until
from tests.webhook_records import advance, new_endpoint

BODY_CHARACTERS = 3000
"""About what a job with its predictions comes to."""


@click.command(help=__doc__)
@click.option("--deliveries", default=100_000, show_default=True)
@click.option("--endpoints", "count", default=50, show_default=True)
@click.option("--dead", default=10, show_default=True)
def main(deliveries: int, count: int, dead: int) -> None:
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "postgres") as postgres:
        settings = Settings(
            database=DatabaseSettings(url=SecretStr(postgres.url)),
            fetch=FetchSettings(allow_networks=("127.0.0.0/8",)),
            log_level="warning",
        )
        migrate(settings)
        figures = measure(settings, deliveries, count, dead)
    print(" ".join(f"{name}={value}" for name, value in figures.items()))
    sys.exit(1 if figures["lost"] else 0)


def measure(settings: Settings, deliveries: int, count: int, dead: int) -> dict[str, Any]:
    """Fills the record, runs the dispatcher twice, and reads what arrived."""
    engine = make_engine(settings)
    sessions = make_sessions(engine)
    with _receiver() as port, contextlib.closing(_Counts(port)) as counts:
        urls = [f"http://127.0.0.1:{port}/{number}" for number in range(count - dead)]
        urls += [f"http://127.0.0.1:{port}/hang"] * (dead // 2) + ["http://127.0.0.1:9/"] * (dead - dead // 2)
        per_endpoint = deliveries // count
        _fill(sessions, [new_endpoint(sessions, url) for url in urls], per_endpoint)
        wanted = (count - dead) * per_endpoint
        first = _run(settings, counts, wanted // 2, kill=True)
        advance(sessions, minutes=5)  # past the leases of what the killed one held
        second = _run(settings, counts, wanted)
        told = counts.read()
        with sessions() as session:
            pending = session.scalar(
                select(func.count()).select_from(WebhookDelivery).where(WebhookDelivery.status == "pending")
            )
    engine.dispose()
    seconds = first["seconds"] + second["seconds"]
    return {
        "deliveries": per_endpoint * count,
        "endpoints": count,
        "dead": dead,
        "healthy_per_s": round((first["done"] + second["done"]) / seconds),
        "seconds": round(seconds),
        "rss_start_mib": first["rss_start"],
        "rss_end_mib": max(first["rss_end"], second["rss_end"]),
        "repeated_after_kill": told["received"] - told["distinct"],
        "lost": wanted - told["distinct"],
        "still_waiting": pending,
    }


def _fill(sessions: Sessions, endpoint_ids: list[uuid.UUID], per_endpoint: int) -> None:
    """So many events, each for every endpoint."""
    body = json.dumps({"type": "job.succeeded", "timestamp": "2026-03-02T00:00:00Z", "data": "x" * BODY_CHARACTERS})
    for _ in range(per_endpoint):
        event = {"id": uuid.uuid4(), "owner_id": "local", "type": "job.succeeded", "body": body}
        rows = [
            {"id": uuid.uuid4(), "owner_id": "local", "event_id": event["id"], "endpoint_id": endpoint_id}
            for endpoint_id in endpoint_ids
        ]
        with sessions.begin() as session:
            session.execute(insert(WebhookEvent), event)
            session.execute(insert(WebhookDelivery), rows)


def _run(settings: Settings, counts: _Counts, until: int, *, kill: bool = False) -> dict[str, Any]:
    """A dispatcher until the healthy endpoints have `until` in all. Timed from its first delivery on."""
    before = counts.distinct()
    with running(settings, "dispatcher") as child:
        wait_until(lambda: counts.distinct() > before, 60, "the first delivery")
        began, at_first = time.monotonic(), counts.distinct()
        rss_start = _rss_mib(child.pid)
        wait_until(lambda: counts.distinct() >= until, 3600, "all deliveries")
        seconds, rss_end = time.monotonic() - began, _rss_mib(child.pid)
        if kill:
            child.kill()
            child.wait()
    return {"done": until - at_first, "seconds": seconds, "rss_start": rss_start, "rss_end": rss_end}


def _rss_mib(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss >> 20)


@contextlib.contextmanager
def _receiver() -> Iterator[int]:
    command = [sys.executable, "-m", "tests.bench.fast_receiver"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield int(child.stdout.readline())
        finally:
            child.terminate()


class _Counts:
    """Reads the receiver's counts, seldom enough not to weigh on it."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/"
        self._http = urllib3.PoolManager()
        self._read_at, self._told = 0.0, {"received": 0, "distinct": 0}

    def read(self) -> dict[str, int]:
        told: dict[str, int] = self._http.request("GET", self._url).json()
        return told

    def distinct(self) -> int:
        """What the healthy endpoints have, repetitions aside; a fifth of a second old at most."""
        if time.monotonic() - self._read_at > 0.2:
            self._told, self._read_at = self.read(), time.monotonic()
        return self._told["distinct"]

    def close(self) -> None:
        self._http.clear()


if __name__ == "__main__":
    main()

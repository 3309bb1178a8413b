"""Runs the fuzzing and prints one line of figures: `python -m tests.fuzz [--seed N] [--images N] …`."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from pydantic import SecretStr

from core.db.engine import migrate
from core.settings import (
    DatabaseSettings,
    QueueSettings,
    Settings,
    StorageSettings,
)
from core.telemetry.logs import configure_logs
from tests import servers
from tests.fuzz import addresses, memory, requests, uploads
from tests.fuzz.decoding import decode_apart


@click.command(help=__doc__)
@click.option("--seed", default=0, show_default=True, help="the same seed damages the same bytes")
@click.option("--images", default=10_000, show_default=True, help="mutated pictures through the decoder")
@click.option("--through-worker", default=300, show_default=True, help="mutated pictures through the whole service")
@click.option("--huge", default=16, show_default=True, help="huge pictures of each kind at once; 0 leaves them out")
@click.option("--examples", default=100, show_default=True, help="requests of each kind per operation")
def main(seed: int, images: int, through_worker: int, huge: int, examples: int) -> None:
    configure_logs(Settings(log_level="error"), "fuzz")  # a line per request would bury the one that counts
    began = time.monotonic()
    figures, faults = run(seed, images, through_worker, huge, examples)
    for fault in faults[:50]:
        print(f"FAULT {fault}", file=sys.stderr)
    print(" ".join(f"{name}={value}" for name, value in figures.items()), f"seconds={time.monotonic() - began:.0f}")
    sys.exit(1 if faults else 0)


def run(seed: int, images: int, through_worker: int, huge: int, examples: int) -> tuple[dict[str, Any], list[str]]:
    """The figures of one run, and every promise that it broke."""
    attacked = addresses.attack()
    decoded = decode_apart(seed, images)
    held = memory.decode_apart(huge) if huge else None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with servers.postgres(folder / "postgres") as postgres, servers.redis(folder / "redis") as redis:
            url = servers.fresh_database(postgres)
            settings = Settings(
                database=DatabaseSettings(url=SecretStr(url)),
                queue=QueueSettings(url=SecretStr(redis)),
                storage=StorageSettings(folder=folder / "uploads"),
                log_level="error",
            )
            migrate(settings)
            worked = uploads.upload(settings, seed, through_worker, folder)
            sent = requests.send(settings, examples, seed)
            servers.drop_database(postgres, url)
    figures = {
        "requests": sent.requests,
        "answers_5xx": len(sent.answers_5xx),
        "not_problems": len(sent.not_problems),
        "images": decoded.images + through_worker,
        "decoded": decoded.decoded + worked.ended.get("succeeded", 0),
        "refused": sum(decoded.refused.values()) + sum(worked.ended.values()) - worked.ended.get("succeeded", 0),
        "surprises": len(decoded.surprises) + worked.unexpected,
        "good_failed": worked.good_failed,
        "worker_deaths": decoded.deaths + worked.deaths,
        "rss_start_mib": round(decoded.rss_start_mib),
        "rss_end_mib": round(decoded.rss_end_mib),
        "rss_growth": f"{decoded.growth:.3f}",
        "addresses": attacked.tried,
        "not_refused": len(attacked.not_refused),
        "reached": attacked.reached,
        "seed": seed,
    }
    if held is not None:
        figures |= {
            "huge": sum(held.ended.values()),
            "huge_before_mib": round(held.before_mib),
            "huge_most_mib": round(held.most_mib),
            "huge_after_mib": round(held.after_mib),
        }
    faults = [*sent.answers_5xx, *sent.not_problems, *decoded.surprises, *attacked.not_refused]
    for broken in ("good_failed", "worker_deaths", "reached"):
        faults += [f"{broken}={figures[broken]}"] if figures[broken] else []
    faults += [f"uploads ended as {worked.ended}"] if worked.unexpected else []
    faults += [f"memory grew by {decoded.growth:.0%}"] if decoded.growth > 0.10 else []
    if held is not None and (held.most_mib > memory.requested_mib() or held.growth > 0.10):
        faults.append(f"huge pictures took {held.most_mib:.0f} MiB and left {held.after_mib:.0f} MiB")
    return figures, faults


if __name__ == "__main__":
    main()

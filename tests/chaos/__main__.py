"""Kills everything in turn while jobs flow, and prints one line of figures: `python -m tests.chaos [--seed N] …`."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import click

from core.settings import JobSettings, Settings
from core.telemetry.logs import configure_logs
from tests.chaos.run import run


@click.command(help=__doc__)
@click.option("--seed", default=0, show_default=True, help="the same seed kills in the same order")
@click.option("--jobs", default=10_000, show_default=True, help="jobs to send")
@click.option("--kills", default=45, show_default=True, help="kills, all five kinds in turn")
@click.option("--keep", type=click.Path(path_type=Path), help="a folder for data and logs, to look at afterwards")
def main(seed: int, jobs: int, kills: int, keep: Path | None) -> None:
    configure_logs(Settings(log_level="error"), "chaos")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        verdict = run(keep or Path(name), seed=seed, jobs=jobs, kills=kills, settings=JobSettings())
    for note in verdict.notes[:50]:
        print(f"BROKEN {note}", file=sys.stderr)
    print(f"{verdict.line()} seed={seed} seconds={time.monotonic() - began:.0f}")
    sys.exit(0 if verdict.is_kept else 1)


if __name__ == "__main__":
    main()

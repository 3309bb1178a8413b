"""The worker's two lanes as two processes side by side, for one GPU or a small shop."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from cli.local.console import Console
from cli.local.environment import lane_environment
from cli.local.guardian import Guardian
from cli.local.processes import Child, Supervisor
from cli.local.stopping import StopSignals
from core.settings import Settings

LANES = ("interactive", "bulk")
BULK_NICENESS = 10
# Workers touch their file every 2 s.
STALE_AFTER_S = 10.0
EXIT_S = 5.0
"""For what comes after a worker's grace: closed connections, the interpreter's exit."""


def heartbeat_file(run_dir: Path, lane: str) -> Path:
    return run_dir / f"{lane}.heartbeat"


def lane_children(
    front_door: Sequence[str], environment: Mapping[str, str], run_dir: Path, metrics_port: int | None = None
) -> list[Child]:
    """One worker process per lane; the bulk one is niced, so that a person who waits goes first on a busy machine.

    metrics_port: that of the first lane; the next lane has the next one.
    """
    ports = [None if metrics_port is None else metrics_port + number for number in range(len(LANES))]
    return [
        _lane_child(front_door, lane_environment(environment, heartbeat_file(run_dir, lane), port), lane, run_dir)
        for lane, port in zip(LANES, ports, strict=True)
    ]


def _lane_child(front_door: Sequence[str], environment: Mapping[str, str], lane: str, run_dir: Path) -> Child:
    file = heartbeat_file(run_dir, lane)
    return Child(
        lane,
        [*front_door, "worker", "--lane", lane],
        environment,
        is_ready=file.exists,
        # One of a killed run would tell that this one is ready.
        before_start=lambda: file.unlink(missing_ok=True),
        nice=BULK_NICENESS if lane == "bulk" else 0,
    )


def run_lanes(settings: Settings, front_door: Sequence[str], console: Console) -> None:
    """`enrich worker` without a lane: both until a signal. The settings' heartbeat file is touched while both are well.

    Raises StartError when one keeps crashing at its start.
    """
    with StopSignals() as signals, ExitStack() as stack:
        run_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="enrich-")))
        guardian = Guardian()
        stack.callback(guardian.close)
        children = lane_children(front_door, dict(os.environ), run_dir, settings.metrics.port)
        grace_s = settings.worker.grace_s + EXIT_S
        supervisor = Supervisor(children, console=console, signals=signals, guardian=guardian, grace_s=grace_s)
        stack.callback(supervisor.stop)
        if supervisor.start():
            console.say("both lanes are ready")
            supervisor.run(on_tick=lambda: _beat(settings.worker.heartbeat_file, run_dir))


def _beat(common: Path | None, run_dir: Path) -> None:
    """Passes the lanes' heartbeats on to the one file that a probe looks at."""
    if common is not None and all(_is_fresh(heartbeat_file(run_dir, lane)) for lane in LANES):
        common.parent.mkdir(parents=True, exist_ok=True)
        common.touch()


def _is_fresh(file: Path) -> bool:
    try:
        return time.time() - file.stat().st_mtime < STALE_AFTER_S
    except FileNotFoundError:
        return False

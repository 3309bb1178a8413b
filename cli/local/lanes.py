"""Runs the two lanes of the worker as two processes, for a single GPU or a small installation."""

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
# Workers touch their heartbeat file every 2 s.
STALE_AFTER_S = 10.0
EXIT_S = 5.0
"""Extra shutdown time after a worker's grace period, for closing connections and the interpreter's exit."""


def heartbeat_file(run_dir: Path, lane: str) -> Path:
    return run_dir / f"{lane}.heartbeat"


def lane_children(
    command: Sequence[str], environment: Mapping[str, str], run_dir: Path, metrics_port: int | None = None
) -> list[Child]:
    """Returns one worker process per lane.

    The bulk lane runs at a lower CPU priority, so that interactive jobs go first on a busy machine.

    Args:
        command: the command that starts `enrich`.
        metrics_port: port of the first lane; the second lane uses the next port.
    """
    ports = [None if metrics_port is None else metrics_port + number for number in range(len(LANES))]
    return [
        _lane_child(command, lane_environment(environment, heartbeat_file(run_dir, lane), port), lane, run_dir)
        for lane, port in zip(LANES, ports, strict=True)
    ]


def _lane_child(command: Sequence[str], environment: Mapping[str, str], lane: str, run_dir: Path) -> Child:
    file = heartbeat_file(run_dir, lane)
    return Child(
        lane,
        [*command, "worker", "--lane", lane],
        environment,
        is_ready=file.exists,
        # A file left by a killed run would mark the new process as ready.
        before_start=lambda: file.unlink(missing_ok=True),
        nice=BULK_NICENESS if lane == "bulk" else 0,
    )


def run_lanes(settings: Settings, command: Sequence[str], console: Console) -> None:
    """Runs both lanes until a signal, for `enrich worker` without `--lane`.

    Touches the configured heartbeat file while both lanes are healthy. Raises StartError if a lane keeps crashing
    during startup.
    """
    with StopSignals() as signals, ExitStack() as stack:
        run_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="enrich-")))
        guardian = Guardian()
        stack.callback(guardian.close)
        children = lane_children(command, dict(os.environ), run_dir, settings.metrics.port)
        grace_s = settings.worker.grace_s + EXIT_S
        supervisor = Supervisor(children, console=console, signals=signals, guardian=guardian, grace_s=grace_s)
        stack.callback(supervisor.stop)
        if supervisor.start():
            console.say("both lanes are ready")
            supervisor.run(on_tick=lambda: _forward_heartbeat(settings.worker.heartbeat_file, run_dir))


def _forward_heartbeat(file: Path | None, run_dir: Path) -> None:
    """Touches the heartbeat file of both lanes if each lane's own file is fresh. None disables it."""
    if file is not None and all(_is_fresh(heartbeat_file(run_dir, lane)) for lane in LANES):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def _is_fresh(file: Path) -> bool:
    try:
        return time.time() - file.stat().st_mtime < STALE_AFTER_S
    except FileNotFoundError:
        return False

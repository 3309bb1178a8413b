"""Supervises child processes: starts them, shows their output, restarts crashed ones, and stops them together.

No child outlives this process, even after a `kill -9`: on Linux the kernel kills children whose parent died
(launch.py), and on all systems the guardian kills their process groups.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from cli.local.console import Console
from cli.local.guardian import Guardian
from cli.local.server import launch_command
from cli.local.stopping import StopSignals
from core.startup_errors import StartError

POLL_S = 0.1
BACKOFF_MAX_S = 30.0
# After running this long a child counts as healthy, and its crash count restarts at zero.
HEALTHY_AFTER_S = 60.0
MAX_CRASHES_AT_START = 3


@dataclass(frozen=True)
class Child:
    """A process to run.

    Args:
        name: prefix of its output lines.
        argv: the command; argv[0] is a path.
        env: the complete environment.
        is_ready: polled until it returns True; must be cheap and must not raise. None if its start is not awaited.
        before_start: called before each start.
        nice: increment of the niceness.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    is_ready: Callable[[], bool] | None = None
    before_start: Callable[[], None] = lambda: None
    nice: int = 0


@dataclass
class _Running:
    """A child with its current process."""

    child: Child
    process: subprocess.Popen[str] | None = None
    started_at: float = 0.0
    crashes: int = 0
    restart_at: float | None = None
    is_ready: bool = field(default=False)


class Supervisor:
    """Starts, monitors and stops children. All methods must be called from the main thread.

    Args:
        grace_s: time for children to exit after SIGTERM, before they are killed.
        on_ready: called once per start with the child's name and the startup time in seconds.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        console: Console,
        signals: StopSignals,
        guardian: Guardian,
        grace_s: float = 25.0,
        on_ready: Callable[[str, float], None] = lambda name, seconds: None,
    ) -> None:
        self._running = [_Running(child) for child in children]
        self._console = console
        self._signals = signals
        self._guardian = guardian
        self._grace_s = grace_s
        self._on_ready = on_ready

    def start(self, timeout_s: float = 300.0) -> bool:
        """Starts all children in order and waits until they are ready. Returns False if interrupted by a stop signal.

        Raises StartError if a child is not ready in time or keeps crashing.
        """
        for running in self._running:
            self._spawn(running)
        deadline = time.monotonic() + timeout_s
        while waiting := [running for running in self._running if not self._check_ready(running)]:
            if self._signals.wait(POLL_S):
                return False
            self._restart_crashed()
            self._check_startup(waiting, time.monotonic() > deadline)
        return True

    def _check_startup(self, waiting: Sequence[_Running], is_late: bool) -> None:
        for running in waiting:
            if running.crashes >= MAX_CRASHES_AT_START:
                raise StartError(
                    f"{running.child.name} exited {running.crashes} times during startup; see its output above."
                )
        if is_late:
            names = ", ".join(running.child.name for running in waiting)
            raise StartError(f"Not ready in time: {names}.")

    def run(self, on_tick: Callable[[], None] = lambda: None) -> None:
        """Keeps the children running until a stop signal. Calls `on_tick` about ten times a second."""
        while not self._signals.wait(POLL_S):
            self._restart_crashed()
            for running in self._running:
                self._check_ready(running)
            on_tick()

    def stop(self) -> None:
        """Sends SIGTERM to all children in reverse order of their start.

        Sends SIGKILL to those that are still running after the grace period, or after a second stop signal.
        """
        for running in reversed(self._running):
            running.restart_at = None
            if running.process is not None:
                running.process.terminate()
        deadline = time.monotonic() + self._grace_s
        while any(self._reap(running) is None for running in self._running if running.process is not None):
            if self._signals.is_urgent or time.monotonic() > deadline:
                self.kill()
                return
            time.sleep(POLL_S / 5)

    def kill(self) -> None:
        """Sends SIGKILL to all children and their descendants."""
        for running in reversed(self._running):
            if running.process is not None:
                _kill_group(running.process.pid)
                running.process.wait()
                self._reap(running)

    def _spawn(self, running: _Running) -> None:
        child = running.child
        child.before_start()
        process = subprocess.Popen(  # noqa: S603 - our own commands
            launch_command(list(child.argv), nice=child.nice),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(child.env),
            # Own process group, so that Ctrl-C reaches only this process, which then stops the children in order.
            process_group=0,
            text=True,
            errors="replace",
        )
        assert process.stdout is not None
        self._guardian.watch(process.pid)
        self._console.follow(child.name, process.stdout)
        running.process = process
        running.started_at = time.monotonic()
        running.restart_at = None
        running.is_ready = False

    def _restart_crashed(self) -> None:
        """Schedules restarts of children that have exited, and starts those whose backoff is over."""
        now = time.monotonic()
        for running in self._running:
            if running.process is not None and (status := self._reap(running)) is not None:
                self._schedule_restart(running, status, now)
            elif running.restart_at is not None and now >= running.restart_at:
                self._spawn(running)

    def _schedule_restart(self, running: _Running, status: int, now: float) -> None:
        if now - running.started_at > HEALTHY_AFTER_S:
            running.crashes = 0
        backoff_s = min(0.5 * 2**running.crashes, BACKOFF_MAX_S)
        running.crashes += 1
        running.restart_at = now + backoff_s
        self._console.say(f"{running.child.name} exited ({_describe(status)}); restarting in {backoff_s:g} s")

    def _check_ready(self, running: _Running) -> bool:
        if running.child.is_ready is None:
            return True
        if not running.is_ready and running.process is not None and running.child.is_ready():
            running.is_ready = True
            self._on_ready(running.child.name, time.monotonic() - running.started_at)
        return running.is_ready

    def _reap(self, running: _Running) -> int | None:
        """Returns the exit status if the child has exited, and then kills its descendants. Otherwise returns None."""
        if running.process is None:
            return None
        status = running.process.poll()
        if status is not None:
            _kill_group(running.process.pid)
            self._guardian.forget(running.process.pid)
            running.process = None
        return status


def _kill_group(group: int) -> None:
    # On macOS signaling a group of zombies raises PermissionError.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _describe(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"

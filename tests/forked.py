"""Processes of ours that are forked from a server with their modules loaded, instead of starting from nothing.

A worker imports torch and timm for five seconds of CPU time, and the suite starts a hundred of them. What runs is the
real command in a process of its own, with its own environment, signals, output and exit status.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PRELOADED = ["api.server", "cli.main", "dispatcher.main", "worker.main", "transformers", "tests.forked"]


class ForkedProcess:
    """The part of `subprocess.Popen` that tests use, for a process of the fork server."""

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path | None = None
    ) -> None:
        self.args = ["enrich", *(str(each) for each in arguments)]
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._process = context.Process(target=_run, args=(self.args, dict(environment), folder, log), name="enrich")
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        """Returns the exit status, or None while the process runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the exit status. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if (status := self._process.exitcode) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        """Sends a signal to the process, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(arguments: list[str], environment: dict[str, str], folder: Path, log: Path | None) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if log is not None:
        with log.open("ab") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    from cli.main import main

    try:
        main()
    finally:
        # multiprocessing ends its processes without them; the last traces are sent by one.
        atexit._run_exitfuncs()

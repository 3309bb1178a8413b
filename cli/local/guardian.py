"""Kills the process groups that a killed parent leaves behind.

    python -I -S guardian.py        reads lines "PROCESS_GROUP SIGNAL"; signal 0 removes the group from the list

This small process waits until its input pipe closes, then signals all groups on its list. The kernel's parent-death
signal only works on Linux and only for direct children; this also works on macOS, and for their descendants. Only the
standard library is imported, because the process lives as long as the service and must use little memory.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def main(lines: Iterable[str]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: dict[int, int] = {}
    for line in lines:
        group, death_signal = (int(word) for word in line.split())
        if death_signal:
            groups[group] = death_signal
        else:
            groups.pop(group, None)
    for group, death_signal in groups.items():
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, death_signal)


class Guardian:
    """The parent's side: starts the guardian process, which acts when this process ends for any reason."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, "-I", "-S", str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            process_group=0,
            text=True,
        )

    def watch(self, group: int, death_signal: signal.Signals = signal.SIGKILL) -> None:
        """Adds a process group to the list."""
        self._send(group, int(death_signal))

    def forget(self, group: int) -> None:
        """Removes a group from the list. Call this once its leader is reaped, because its id may be reused."""
        self._send(group, 0)

    def close(self) -> None:
        """Makes the guardian signal all groups still on its list, and waits for it to exit."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def _send(self, group: int, death_signal: int) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the guardian was killed; the kernel's death signal still applies
            self._process.stdin.write(f"{group} {death_signal}\n")
            self._process.stdin.flush()


if __name__ == "__main__":
    main(sys.stdin)

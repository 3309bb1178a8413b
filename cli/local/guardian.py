"""Ends what a killed parent left behind: a tiny process that waits for the other end of its pipe to close.

    python -I -S guardian.py        reads "PROCESS_GROUP SIGNAL" lines; signal 0 takes the group off the list

The kernel's death signal reaches children, on Linux. This reaches their children as well, and works on macOS. Only the
standard library is imported: it lives as long as the service and should weigh little.
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
    """Our end of the pipe. While we live, nothing happens; when we die, in whatever way, the groups get it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own file
            [sys.executable, "-I", "-S", str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            process_group=0,
            text=True,
        )

    def watch(self, group: int, death_signal: signal.Signals = signal.SIGKILL) -> None:
        """Puts a process group on the list."""
        self._tell(group, int(death_signal))

    def forget(self, group: int) -> None:
        """Takes a group off the list. Call it when its leader has been reaped: the number may be given to others."""
        self._tell(group, 0)

    def close(self) -> None:
        """Lets the guardian act on what is still on its list, and waits for its end."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, group: int, death_signal: int) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # somebody killed it: the kernel's death signal is still there
            self._process.stdin.write(f"{group} {death_signal}\n")
            self._process.stdin.flush()


if __name__ == "__main__":
    main(sys.stdin)

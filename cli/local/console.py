"""Console output: our own lines, and the lines of child processes prefixed with the child's name."""

from __future__ import annotations

import os
import threading
from typing import IO, TextIO

COLOURS = (36, 35, 33, 32, 34, 96)  # cyan, magenta, yellow, green, blue, bright cyan


class Console:
    """Writes whole lines from several threads to one stream."""

    def __init__(self, out: TextIO, name_width: int = 12) -> None:
        self._out = out
        self._name_width = name_width
        self._lock = threading.Lock()
        # https://no-color.org
        self._has_colour = out.isatty() and not os.environ.get("NO_COLOR")
        self._names: list[str] = []

    def say(self, line: str) -> None:
        """Writes a line without a prefix."""
        with self._lock:
            self._out.write(line + "\n")
            self._out.flush()

    def follow(self, name: str, stream: IO[str]) -> threading.Thread:
        """Copies all lines of `stream`, prefixed with the name, in a background thread."""
        prefix = self._prefix(name)

        def copy() -> None:
            with stream:
                for line in stream:
                    self.say(f"{prefix} {line.rstrip()}")

        thread = threading.Thread(target=copy, name=f"output of {name}", daemon=True)
        thread.start()
        return thread

    def _prefix(self, name: str) -> str:
        if name not in self._names:
            self._names.append(name)
        text = f"{name:<{self._name_width}} |"
        if not self._has_colour:
            return text
        return f"\x1b[{COLOURS[self._names.index(name) % len(COLOURS)]}m{text}\x1b[0m"

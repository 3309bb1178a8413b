"""The file that tells probes that a process is well: touched again and again, gone at an orderly end."""

from __future__ import annotations

from pathlib import Path


class Heartbeat:
    """file: None = nobody looks."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def beat(self) -> None:
        """Says that all is well now."""
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.touch()

    def remove(self) -> None:
        """Says that nobody is here any more."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)

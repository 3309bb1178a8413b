"""Heartbeat file for health probes."""

from __future__ import annotations

from pathlib import Path


class Heartbeat:
    """A file that a healthy process touches regularly and removes on shutdown. None disables the heartbeat."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def beat(self) -> None:
        """Touches the heartbeat file."""
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.touch()

    def remove(self) -> None:
        """Removes the heartbeat file."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)

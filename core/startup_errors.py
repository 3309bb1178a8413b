"""What can go wrong while something starts on this machine."""

from __future__ import annotations

from core.errors import EnrichError


class StartError(EnrichError):
    """A server or a process cannot start; the text is one sentence that says why and what to do."""

    code = "start_failed"


class FolderInUse(StartError):
    """Another running process holds the folder."""

    code = "folder_in_use"


class PortTaken(StartError):
    """Something else listens there."""

    code = "port_taken"

"""Errors that prevent a process from starting."""

from __future__ import annotations

from core.errors import EnrichError


class StartError(EnrichError):
    """A server or process cannot start. The message states the cause and the remedy in one sentence."""

    code = "start_failed"


class FolderInUse(StartError):
    """Another running process uses the folder."""

    code = "folder_in_use"


class PortTaken(StartError):
    """Another process listens on the port."""

    code = "port_taken"

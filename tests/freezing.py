"""A server that hangs: its processes stopped in their tracks, while the kernel goes on taking what it is sent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psutil

from cli.local.server import Server


@contextlib.contextmanager
def frozen(server: Server) -> Iterator[None]:
    """The server and all its processes stand still (SIGSTOP) while the block runs; then they go on (SIGCONT)."""
    assert server.pid is not None
    main = psutil.Process(server.pid)
    main.suspend()  # first, so that it starts no further ones
    family = [main, *main.children(recursive=True)]
    try:
        for process in family[1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        yield
    finally:
        for process in reversed(family):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

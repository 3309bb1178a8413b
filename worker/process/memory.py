"""A worker's memory: the guard that ends one which has grown too large, and what the garbage collector may leave alone.

Strangers' files go through C libraries, and allocators fragment: a worker that only ever grows gets killed in the end,
with all it has in hand. Told to stop instead, it gives its jobs back, and whoever supervises it starts a fresh one.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Callable, Iterator

import psutil

from core.settings import MIB
from core.telemetry.logs import get_logger

log = get_logger(__name__)


@contextlib.contextmanager
def heap_kept() -> Iterator[None]:
    """What is in memory by now is not searched for garbage while the block runs.

    The libraries of a worker are half a million objects that stay. Each full collection would look at all of them, with
    every thread standing still meanwhile (a third of a second on a busy machine).
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()  # else some libraries report all of it as leaked when the interpreter ends


class MemoryGuard:
    """Every `every_s` compares the process's resident memory with the limit; calls `drain` once when it is above.

    max_rss_mib: None = no limit, and no thread.
    """

    def __init__(self, max_rss_mib: int | None, drain: Callable[[], None], every_s: float = 2.0) -> None:
        self._max_rss_mib = max_rss_mib
        self._drain = drain
        self._every_s = every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def start(self) -> None:
        if self._max_rss_mib is not None:
            self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        process = psutil.Process()
        while not self._stopping.wait(self._every_s):
            rss_mib = process.memory_info().rss // MIB
            if self._max_rss_mib is not None and rss_mib > self._max_rss_mib:
                log.warning("memory_limit_reached", rss_mib=rss_mib, max_rss_mib=self._max_rss_mib)
                self._drain()
                return

"""Memory of a worker: a limit that triggers a shutdown, a heap that the garbage collector skips, and malloc's settings.

Images pass through C libraries, and allocators fragment. A worker that only grows is eventually killed with all its
jobs in hand. A worker that shuts down instead releases its jobs, and its supervisor starts a new one.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping

import psutil

from core.settings import MIB
from core.telemetry.logs import get_logger

log = get_logger(__name__)

# By default glibc raises the threshold with each large block that is freed, up to 32 MiB, and keeps what lies below it
# in arenas, eight per core. With these settings the memory of large images goes back to the system when they are freed,
# and ordinary photos still reuse theirs (`python -m tests.bench.decoding`, docs/operate/sizing.md).
MALLOC_DEFAULTS: Mapping[str, str] = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(8 * MIB),
    "MALLOC_TRIM_THRESHOLD_": str(64 * MIB),
}
_MALLOPT = {"MALLOC_ARENA_MAX": -8, "MALLOC_MMAP_THRESHOLD_": -3, "MALLOC_TRIM_THRESHOLD_": -1}  # of malloc.h


def allocator_environment(own: Mapping[str, str] | None = None) -> dict[str, str]:
    """Returns an environment, by default this process's own, with those of malloc's settings that it does not have."""
    return {**MALLOC_DEFAULTS, **(os.environ if own is None else own)}


def set_allocator() -> None:
    """Applies those of malloc's settings to this process that its environment does not have. Only glibc has them."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for name in MALLOC_DEFAULTS.keys() - os.environ.keys():
            mallopt(_MALLOPT[name], int(MALLOC_DEFAULTS[name]))


@contextlib.contextmanager
def gc_frozen() -> Iterator[None]:
    """Excludes all objects that exist now from garbage collection while the block runs.

    A worker's libraries hold half a million objects that are never freed. Each full collection would visit all of them
    and stop every thread meanwhile (a third of a second on a busy machine).
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()  # otherwise some libraries report every object as leaked when the interpreter exits


class MemoryGuard:
    """Checks the process's resident memory every `every_s` seconds; calls `shut_down` once if it exceeds the limit.

    max_rss_mib: None disables the guard.
    """

    def __init__(self, max_rss_mib: int | None, shut_down: Callable[[], None], every_s: float = 2.0) -> None:
        self._max_rss_mib = max_rss_mib
        self._shut_down = shut_down
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
                self._shut_down()
                return

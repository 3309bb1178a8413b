"""Keep what is freed: a training step asks for the same hundreds of MiB again and again.

glibc hands large blocks back to the kernel as soon as they are freed, and new pages are zeroed for the next step.
Where the pages stay, a step on a CPU is up to a third shorter, and the process a tenth larger (measured, see LOG.md).
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Parameters of mallopt(3), as malloc.h numbers them."""


def keep_freed_memory() -> None:
    """Of this process, from now on. Where the C library has no mallopt (macOS, musl), nothing changes."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)

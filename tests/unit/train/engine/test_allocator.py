"""Freed memory stays in the process (glibc only)."""

from __future__ import annotations

import subprocess
import sys

import pytest

SHOWS = """
import resource
from train.engine.allocator import keep_freed_memory
keep_freed_memory()
bytes(64 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    bytearray(b"x") * (64 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is Linux's")
def test_blocks_used_again_are_not_faulted_in_again() -> None:
    """Twenty blocks of 64 MiB fault 327,680 pages if each comes from the kernel, and 16,384 if one is reused."""
    done = subprocess.run([sys.executable, "-c", SHOWS], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 40_000

"""TCP ports for the tests' servers.

Each pytest process draws from a range of its own, below the range from which the kernel takes ports of outgoing
connections, so that no parallel test and no client can take a port between its choice and its use.
"""

from __future__ import annotations

import itertools
import os
import random

from cli.local.server import is_port_free

FIRST, PER_PROCESS = 12_000, 1_500

_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_first = FIRST + _process % 12 * PER_PROCESS
# Two test runs on one machine start at different places.
_start = random.randrange(PER_PROCESS)
_offsets = (offset % PER_PROCESS for offset in itertools.count(_start))


def free_port() -> int:
    """Returns a port on loopback on which nobody listens, and which no other test of this run gets."""
    return next(port for port in _candidates() if is_port_free(port))


def free_ports(count: int) -> int:
    """Returns the first of `count` consecutive ports on which nobody listens."""
    while True:
        first = free_port()
        ports = [first, *(free_port() for _ in range(count - 1))]
        if ports == list(range(first, first + count)):
            return first


def _candidates() -> itertools.chain[int]:
    return itertools.chain(_first + offset for offset in _offsets)

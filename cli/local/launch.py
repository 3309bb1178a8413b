"""Becomes another program that dies with its parent, and that is not root where it must not be.

    python -I -S launch.py PARENT_PID DEATH_SIGNAL NICE UID GID KEEP_SEARCH -- program arguments…

A wrapper and not a `preexec_fn`: code between fork and exec deadlocks in a parent that has threads. Only the standard
library is imported, so that it costs some 20 ms. UID -1 keeps the user.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
LINUX_CAPABILITY_VERSION_3 = 0x20080522


def main(arguments: list[str]) -> None:
    parent_pid, death_signal, nice, uid, gid, keep_search = (int(value) for value in arguments[:6])
    command = arguments[7:]
    os.nice(nice)
    if uid >= 0:
        become(uid, gid, keep_search=bool(keep_search))
    # After the change of user, which clears it.
    die_with(parent_pid, death_signal)
    os.execv(command[0], command)  # noqa: S606 - no shell wanted


def die_with(parent_pid: int, death_signal: int) -> None:
    """Asks the kernel for a signal when the parent dies, `kill -9` included. Linux only; see guardian.py for others."""
    if sys.platform != "linux":
        return
    _libc().prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent_pid:  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)


def become(uid: int, gid: int, *, keep_search: bool) -> None:
    """Turns root into `uid`. With `keep_search` the right to enter closed folders stays.

    Postgres refuses to run as root, and a checkout under /root is closed to everybody else: keeping this one right
    beats opening the home folder to all users.
    """
    capability = _search_capability() if keep_search else None
    if capability is not None:
        _libc().prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if capability is not None:
        _keep(capability)


def _search_capability() -> int | None:
    """The weakest capability we hold that opens closed folders; None where there is none. Docker grants only one."""
    if sys.platform != "linux":
        return None
    status = Path("/proc/self/status").read_text()
    permitted = int(status.split("CapPrm:")[1].split()[0], 16)
    return next((bit for bit in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if permitted & (1 << bit)), None)


def _keep(capability: int) -> None:
    """Reduces our rights to the one capability, and makes it survive the exec (capabilities(7), "ambient")."""
    bits = 1 << capability
    header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(bits, bits, bits, 0, 0, 0)  # effective, permitted, inheritable, then the high halves
    _libc().capset(header, sets)
    _libc().prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Executes a program that dies with its parent, optionally as another user.

    python -I -S launch.py PARENT_PID DEATH_SIGNAL NICE UID GID KEEP_SEARCH -- program arguments…

UID -1 keeps the current user. This is a wrapper script rather than a `preexec_fn`, because code between fork and exec
can deadlock if the parent has threads. Only the standard library is imported, so it adds just about 20 ms.
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
    # Must come after the change of user, which clears the death signal.
    die_with(parent_pid, death_signal)
    os.execv(command[0], command)  # noqa: S606 - deliberately without a shell


def die_with(parent_pid: int, death_signal: int) -> None:
    """Requests a signal from the kernel when the parent dies, even by `kill -9`. Linux only, see guardian.py."""
    if sys.platform != "linux":
        return
    _libc().prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent_pid:  # the parent died before the request
        os.kill(os.getpid(), signal.SIGKILL)


def become(uid: int, gid: int, *, keep_search: bool) -> None:
    """Switches from root to `uid`. With `keep_search` the process keeps the capability to enter any folder.

    Postgres refuses to run as root, but other users cannot read a checkout under /root. Keeping one capability is safer
    than opening the home folder to all users.
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
    """Returns the weakest available capability for entering any folder, or None. Docker grants only one of the two."""
    if sys.platform != "linux":
        return None
    status = Path("/proc/self/status").read_text()
    permitted = int(status.split("CapPrm:")[1].split()[0], 16)
    return next((bit for bit in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if permitted & (1 << bit)), None)


def _keep(capability: int) -> None:
    """Drops all capabilities but one, and keeps it across exec as an ambient capability; see capabilities(7)."""
    bits = 1 << capability
    header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(bits, bits, bits, 0, 0, 0)  # effective, permitted, inheritable, then the high halves
    _libc().capset(header, sets)
    _libc().prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


if __name__ == "__main__":
    main(sys.argv[1:])

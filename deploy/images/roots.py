"""Processes from an image's files without an engine, each in a mount namespace of its own.

As `docker run --read-only --tmpfs /tmp --user 10001` would: the root file system cannot be written, /tmp is empty, the
user, the variables and the entry point are the image's. Network and process numbers are this machine's. Needs root and
buildah.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# What a container gets besides its image; /dev and /proc are this machine's.
_SETUP = """
set -eu
mount --bind "$ROOT" "$ROOT"
mount --rbind /dev "$ROOT/dev"
mount --rbind /proc "$ROOT/proc"
mount -t tmpfs -o mode=1777,size=256m tmpfs "$ROOT/tmp"
mount --bind /etc/hosts "$ROOT/etc/hosts"
mount --bind /etc/resolv.conf "$ROOT/etc/resolv.conf"
mount -o remount,bind,ro "$ROOT"
exec chroot --userspec="$OWNER" "$ROOT" /usr/bin/env -C "$FOLDER" -i "$@"
"""


@dataclass(frozen=True)
class ImageRoot:
    """An image's files, mounted, and its configuration."""

    root: Path
    environment: Mapping[str, str]
    entrypoint: tuple[str, ...]
    user: str
    folder: str
    healthcheck: tuple[str, ...]

    def command(
        self, *arguments: str, environment: Mapping[str, str], entrypoint: tuple[str, ...] | None = None
    ) -> list[str]:
        """The command line that runs the image's entry point with the arguments; for subprocess, as root."""
        # tini is not process 1 here, and looks after orphans only when told to.
        variables = {**self.environment, "TINI_SUBREAPER": "1", **environment}
        given = {"ROOT": str(self.root), "OWNER": self.user, "FOLDER": self.folder}
        return [
            "/usr/bin/env",
            *(f"{name}={value}" for name, value in given.items()),
            *("unshare", "--mount", "--propagation", "private", "sh", "-c", _SETUP, "sh"),
            *(f"{name}={value}" for name, value in variables.items()),
            *(self.entrypoint if entrypoint is None else entrypoint),
            *arguments,
        ]

    def is_healthy(self, pid: int, environment: Mapping[str, str]) -> bool:
        """Whether the image's own health check passes beside the process `pid`, which `command` started."""
        variables = [f"{name}={value}" for name, value in {**self.environment, **environment}.items()]
        inside = ["nsenter", "--target", str(pid), "--mount", "--root", "/usr/bin/env", "-i", *variables]
        return subprocess.run([*inside, *self.healthcheck], check=False, capture_output=True).returncode == 0  # noqa: S603


def _as_command(test: list[str]) -> tuple[str, ...]:
    return ("/bin/sh", "-c", test[1]) if test[0] == "CMD-SHELL" else tuple(test[1:])


@contextlib.contextmanager
def mounted(image: str) -> Iterator[ImageRoot]:
    """The files of a built image while the block runs. Raises SystemExit when there is no such image."""
    if os.geteuid() != 0:
        raise SystemExit("mounting an image's files needs root")
    try:
        container = _output("buildah", "from", "--pull-never", image)
    except (subprocess.CalledProcessError, FileNotFoundError):
        raise SystemExit(f"there is no image {image} in buildah's store: `make images` builds it") from None
    try:
        root = Path(_output("buildah", "mount", container))
        config = json.loads(_output("buildah", "inspect", container))["Docker"]["config"]
        yield ImageRoot(
            root=root,
            environment=dict(pair.split("=", 1) for pair in config["Env"]),
            entrypoint=tuple(config["Entrypoint"]),
            user=config["User"],
            folder=config["WorkingDir"],
            healthcheck=_as_command(config["Healthcheck"]["Test"]),
        )
    finally:
        subprocess.run(["buildah", "rm", container], check=False, stdout=subprocess.DEVNULL)  # noqa: S603, S607


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603

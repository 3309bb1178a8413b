"""Runs processes from an image's files without a container engine, each in a separate mount namespace.

Like `docker run --read-only --tmpfs /tmp --user 10001`: the root file system is read-only, /tmp is empty, and the user,
environment and entry point come from the image. The network and process ids are those of the host. Needs root and
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

# Prepares the file system as for a container; /dev and /proc are those of the host.
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
        """Returns the command line that runs the image's entry point with the arguments, for subprocess, as root."""
        # tini is not process 1 here, so it must be told to reap orphans.
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
        """Whether the image's health check passes for the process `pid`, started by `command`."""
        variables = [f"{name}={value}" for name, value in {**self.environment, **environment}.items()]
        inside = ["nsenter", "--target", str(pid), "--mount", "--root", "/usr/bin/env", "-i", *variables]
        return subprocess.run([*inside, *self.healthcheck], check=False, capture_output=True).returncode == 0  # noqa: S603


def _as_command(test: list[str]) -> tuple[str, ...]:
    return ("/bin/sh", "-c", test[1]) if test[0] == "CMD-SHELL" else tuple(test[1:])


@contextlib.contextmanager
def mounted(image: str) -> Iterator[ImageRoot]:
    """Mounts the files of a built image while the block runs. Raises SystemExit if the image does not exist."""
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

"""A server's data folder: private, with enough free space, and locked by one process."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from core.startup_errors import FolderInUse, StartError

MIN_FREE_BYTES = 256 * 1024 * 1024


def make_folder(folder: Path, *, is_private: bool = True) -> Path:
    """Creates the folder if it is missing and returns its absolute path. A private folder gets mode 0700."""
    folder = folder.expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if is_private:
            folder.chmod(0o700)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise StartError(f"Cannot create or write the folder {folder}: {error.strerror}.") from error
    if free < MIN_FREE_BYTES:
        raise StartError(f"The disk of {folder} has {free >> 20} MiB left; {MIN_FREE_BYTES >> 20} MiB are required.")
    return folder


def read_or_make_password(path: Path) -> str:
    """Returns the password stored in `path`, creating it (with mode 0600) on the first call.

    A password is required because other users of the machine can reach the port, too.
    """
    if path.exists() and (stored := path.read_text().strip()):
        return stored
    password = secrets.token_urlsafe(24)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(password + "\n")
    return password


class FolderLock:
    """An exclusive flock on `path`. The kernel releases it when the process ends, so it is never stale."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Acquires the lock. Raises FolderInUse with the holder's process id if it is taken."""
        with ExitStack() as undo:
            try:
                file = undo.enter_context(self.path.open("a+"))
            except OSError as error:
                raise StartError(f"Cannot write to the folder {self.path.parent}: {error.strerror}.") from error
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise FolderInUse(
                    f"The folder {self.path.parent} is in use by process {holder}; stop it or choose another folder."
                ) from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            undo.pop_all()
            self._file = file

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

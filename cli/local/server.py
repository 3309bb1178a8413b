"""Base class of the embedded servers: start, wait until ready, stop, kill and restart one process in one folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import psutil

from cli.local import launch
from cli.local.folder import FolderLock, make_folder, read_or_make_password
from core.startup_errors import PortTaken, StartError

POLL_S = 0.02


def free_port() -> int:
    """Returns a free TCP port on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_port_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # Servers set this, too: a port in TIME_WAIT is free for them.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def launch_command(
    argv: list[str],
    *,
    death_signal: int = signal.SIGKILL,
    nice: int = 0,
    user: tuple[int, int] = (-1, -1),
    keep_search: bool = False,
) -> list[str]:
    """Wraps a command so that it dies with this process; see launch.py.

    Start the command from a thread that lasts, because the kernel sends the death signal when that thread ends.
    """
    wrapper = [sys.executable, "-I", "-S", str(Path(launch.__file__))]
    numbers = (os.getpid(), int(death_signal), nice, *user, int(keep_search))
    return [*wrapper, *(str(number) for number in numbers), "--", *argv]


class Server(ABC):
    """An embedded server. Its folder contains data, password, log and lock, and is used by one process at a time."""

    name: ClassVar[str]
    # Requests a clean but prompt shutdown.
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    start_timeout_s: ClassVar[float] = 60.0
    stop_timeout_s: ClassVar[float] = 15.0

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self.folder = folder
        # If 0, chosen at the first start and then kept, so that the URL stays the same over restarts.
        self.port = port
        self.password = ""
        self._lock: FolderLock | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """The connection URL, including the password."""

    @abstractmethod
    def prepare(self) -> None:
        """Initializes the data if it is missing, and cleans up after a killed server."""

    @abstractmethod
    def command(self) -> list[str]:
        """Returns the server's command line."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the server responds to a query."""

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log_path(self) -> Path:
        return self.folder / "server.log"

    def start(self) -> str:
        """Starts the server, waits until it is ready and returns its URL. Raises StartError."""
        if self.is_running:
            return self.url
        self.folder = make_folder(self.folder)
        lock = FolderLock(self.folder / "lock")
        lock.acquire()
        self._lock = lock
        try:
            self._start()
        except BaseException:
            self.kill()
            raise
        return self.url

    def _start(self) -> None:
        self.password = read_or_make_password(self.folder / "password")
        self.prepare()
        if self.port == 0:
            self.port = free_port()
        elif not is_port_free(self.port):
            raise PortTaken(f"Port {self.port} on 127.0.0.1 is taken; {self.name} cannot listen on it.")
        if self.log_path.exists():  # keeps the log of the previous run only
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own binary
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Own process group, so that Ctrl-C reaches only this process, which then stops the servers in order.
                process_group=0,
                # The server must not depend on the user's locale or client variables (PGDATA, PGPORT …).
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            )
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + self.start_timeout_s
        while not self.is_ready():
            if self._process.poll() is not None:
                raise StartError(f"{self.name} exited during startup; the end of its log:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise StartError(f"{self.name} was not ready within {self.start_timeout_s:g} s; see {self.log_path}.")
            time.sleep(POLL_S)

    def log_tail(self, lines: int = 8) -> str:
        """Returns the last lines of the server's log."""
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(f"  {line}" for line in text.splitlines()[-lines:])

    def stop(self) -> None:
        """Shuts the server down cleanly, or kills it after `stop_timeout_s`. Does nothing if it is not running."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(self.stop_signal)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(self.stop_timeout_s)
        self.kill()

    def kill(self) -> None:
        """Kills the server and all its processes with SIGKILL, like a power cut."""
        if self._process is not None:
            kill_tree(self._process.pid)
            self._process.wait()
            self._process = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def restart(self) -> str:
        """Stops the server and starts it again at the same URL."""
        self.stop()
        return self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def kill_tree(pid: int) -> None:
    """Sends SIGKILL to a process and all its descendants."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue


def stop_orphan(pid: int, argument: str, stop_signal: signal.Signals, timeout_s: float = 10.0) -> None:
    """Stops a server that outlived its killed parent.

    Does nothing unless the process's command line contains `argument`, because the id may have been reused.
    """
    try:
        process = psutil.Process(pid)
        if argument not in process.cmdline():
            return
        process.send_signal(stop_signal)
        process.wait(timeout_s)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired:
        kill_tree(pid)

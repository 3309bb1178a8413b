"""One server process in one folder: start, wait until it answers, stop, kill, restart."""

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
    """A TCP port on loopback that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_port_free(port: int, host: str = "127.0.0.1") -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As servers do: a port in TIME_WAIT is free.
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
    """The command that becomes `argv` and dies with us; see launch.py.

    The kernel watches the thread that starts it, not the process: call it from a thread that lasts.
    """
    wrapper = [sys.executable, "-I", "-S", str(Path(launch.__file__))]
    numbers = (os.getpid(), int(death_signal), nice, *user, int(keep_search))
    return [*wrapper, *(str(number) for number in numbers), "--", *argv]


class Server(ABC):
    """Base of the embedded servers. The folder holds data, password, log and lock, and belongs to one process."""

    name: ClassVar[str]
    # Asks for a clean but prompt end.
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    start_timeout_s: ClassVar[float] = 60.0
    stop_timeout_s: ClassVar[float] = 15.0

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self.folder = folder
        # Chosen at the first start and kept: the address stays the same over restarts.
        self.port = port
        self.password = ""
        self._lock: FolderLock | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Address with the password in it."""

    @abstractmethod
    def prepare(self) -> None:
        """Makes the data if need be and clears what a killed server left behind."""

    @abstractmethod
    def command(self) -> list[str]:
        """The full command of the server."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers a real question now."""

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
        """Starts the server and returns its address once it answers. Raises StartError with a sentence to show."""
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
            raise PortTaken(f"Port {self.port} on 127.0.0.1 is taken, {self.name} cannot listen there.")
        if self.log_path.exists():  # one log of a run before is kept, no more
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own binary
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Its own group: Ctrl-C goes to us alone, and we stop things in order.
                process_group=0,
                # A server must not depend on the caller's language or on its client variables (PGDATA, PGPORT …).
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            )
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + self.start_timeout_s
        while not self.is_ready():
            if self._process.poll() is not None:
                raise StartError(f"{self.name} ended at its start; its last words were:\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise StartError(f"{self.name} did not answer within {self.start_timeout_s:g} s; see {self.log_path}.")
            time.sleep(POLL_S)

    def last_words(self, lines: int = 8) -> str:
        """The end of the server's log."""
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(f"  {line}" for line in text.splitlines()[-lines:])

    def stop(self) -> None:
        """Ends the server in order, within `stop_timeout_s`; then with force. Does nothing when it is not running."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(self.stop_signal)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(self.stop_timeout_s)
        self.kill()

    def kill(self) -> None:
        """`kill -9` for the server and all its processes, as a power cut would."""
        if self._process is not None:
            kill_tree(self._process.pid)
            self._process.wait()
            self._process = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def restart(self) -> str:
        """Stops and starts again, at the same address."""
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
    """SIGKILL to a process and all its descendants."""
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


def end_leftover(pid: int, belongs: str, stop_signal: signal.Signals, timeout_s: float = 10.0) -> None:
    """Ends a server that outlived a killed parent. It is ours only if `belongs` is an argument of its command line."""
    try:
        process = psutil.Process(pid)
        if belongs not in process.cmdline():
            return
        process.send_signal(stop_signal)
        process.wait(timeout_s)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired:
        kill_tree(pid)

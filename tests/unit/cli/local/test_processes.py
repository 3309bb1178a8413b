"""The supervisor: readiness, restarts, order of stopping, and no orphans."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from cli.local.console import Console
from cli.local.guardian import Guardian
from cli.local.processes import Child, Supervisor
from cli.local.stopping import StopSignals
from core.startup_errors import StartError
from tests.processes import ROOT, wait_until

# Exits on SIGTERM and records it in a journal.
POLITE = """
import pathlib, signal, sys, time
def leave(*_):
    with open({journal!r}, "a") as file:
        file.write({name!r} + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
pathlib.Path({ready!r}).touch()
time.sleep(60)
"""
# Forks a child; both ignore SIGTERM.
STUBBORN = """
import os, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pid = os.fork()
if pid:
    pathlib.Path({pids!r} + ".part").write_text(f"{{os.getpid()}} {{pid}}")
    os.rename({pids!r} + ".part", {pids!r})
time.sleep(60)
"""


@pytest.fixture
def signals() -> Iterator[StopSignals]:
    with StopSignals() as signals:
        yield signals


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def supervise(signals: StopSignals, out: io.StringIO) -> Iterator[Callable[..., Supervisor]]:
    """Creates supervisors, and kills their children at the end."""
    guardian, made = Guardian(), []

    def make(*children: Child, grace_s: float = 5) -> Supervisor:
        made.append(Supervisor(children, console=Console(out), signals=signals, guardian=guardian, grace_s=grace_s))
        return made[-1]

    yield make
    for supervisor in made:
        supervisor.kill()
    guardian.close()


def python(name: str, code: str, **options: object) -> Child:
    return Child(name, [sys.executable, "-c", textwrap.dedent(code)], dict(os.environ), **options)  # type: ignore[arg-type]


def polite(name: str, folder: Path) -> Child:
    ready = folder / name
    return python(
        name, POLITE.format(name=name, journal=str(folder / "journal"), ready=str(ready)), is_ready=ready.exists
    )


def stubborn(folder: Path) -> tuple[Child, Path]:
    pids = folder / "pids"
    return python("stubborn", STUBBORN.format(pids=str(pids)), is_ready=pids.exists), pids


def are_gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)


def read_pids(file: Path) -> list[int]:
    return [int(word) for word in file.read_text().split()]


def test_children_stop_on_sigterm(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    supervisor = supervise(polite("first", tmp_path), polite("second", tmp_path))
    assert supervisor.start(timeout_s=30)
    supervisor.stop()
    assert sorted((tmp_path / "journal").read_text().split()) == ["first", "second"]


def test_lines_are_prefixed_with_the_childs_name(supervise: Callable[..., Supervisor], out: io.StringIO) -> None:
    supervisor = supervise(python("talker", "import sys; print('hello'); print('oh', file=sys.stderr)"))
    supervisor.start()
    wait_until(lambda: "oh" in out.getvalue() and "hello" in out.getvalue(), 10, "both lines")
    assert "talker       | hello\n" in out.getvalue()
    supervisor.stop()


def test_a_child_that_exceeds_the_grace_is_killed_with_its_descendants(
    supervise: Callable[..., Supervisor], tmp_path: Path
) -> None:
    child, pids = stubborn(tmp_path)
    supervisor = supervise(child, grace_s=0.3)
    supervisor.start(timeout_s=30)
    supervisor.stop()
    wait_until(lambda: are_gone(read_pids(pids)), 5, "the end of both")


def test_a_second_signal_kills_at_once(
    supervise: Callable[..., Supervisor], signals: StopSignals, tmp_path: Path
) -> None:
    child, pids = stubborn(tmp_path)
    supervisor = supervise(child, grace_s=60)
    supervisor.start(timeout_s=30)
    os.kill(os.getpid(), signal.SIGINT)
    supervisor.run()
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    started_at = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - started_at < 10
    wait_until(lambda: are_gone(read_pids(pids)), 5, "the end of both")


def test_a_crashed_child_is_reported_and_restarted(
    supervise: Callable[..., Supervisor], signals: StopSignals, out: io.StringIO, tmp_path: Path
) -> None:
    child, pids = stubborn(tmp_path)
    supervisor = supervise(child, grace_s=0.1)
    supervisor.start(timeout_s=30)
    first = read_pids(pids)
    pids.unlink()
    os.kill(first[0], signal.SIGKILL)
    supervisor.run(on_tick=lambda: signals.set() if pids.exists() else None)
    assert "stubborn exited (SIGKILL); restarting in 0.5 s" in out.getvalue()
    assert are_gone(first), "the crashed child's own child must not survive"
    supervisor.stop()


def test_a_child_that_keeps_crashing_during_startup_is_an_error(supervise: Callable[..., Supervisor]) -> None:
    supervisor = supervise(python("hopeless", "raise SystemExit(3)", is_ready=lambda: False))
    with pytest.raises(StartError, match="hopeless exited 3 times during startup"):
        supervisor.start()


def test_a_child_that_is_never_ready_is_named(supervise: Callable[..., Supervisor]) -> None:
    supervisor = supervise(python("sleeper", "import time; time.sleep(60)", is_ready=lambda: False))
    with pytest.raises(StartError, match="Not ready in time: sleeper"):
        supervisor.start(timeout_s=0.3)


PARENT = """
import io, os, sys
from cli.local.console import Console
from cli.local.guardian import Guardian
from cli.local.processes import Child, Supervisor
from cli.local.stopping import StopSignals

with StopSignals() as signals:
    guardian = Guardian()
    argv = [sys.executable, "-c", {code!r}]
    child = Child("stubborn", argv, dict(os.environ), is_ready=lambda: os.path.exists({pids!r}))
    supervisor = Supervisor([child], console=Console(io.StringIO()), signals=signals, guardian=guardian, grace_s=0.3)
    supervisor.start()
    print("ready", flush=True)
    supervisor.run()
    supervisor.stop()
    guardian.close()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_when_the_parent_ends(number: signal.Signals, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = PARENT.format(code=STUBBORN.format(pids=str(pids)), pids=str(pids))
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        family = [parent.pid, *(child.pid for child in psutil.Process(parent.pid).children(recursive=True))]
        assert {*read_pids(pids)} < {*family}
        parent.send_signal(number)
    wait_until(lambda: are_gone(family), 10, "the end of all")

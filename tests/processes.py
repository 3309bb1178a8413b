"""Real processes of ours for tests and the bench: started by the front door, with a test's settings as variables."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import urllib3
from pydantic import BaseModel, SecretStr

from core.settings import Settings
from tests.forked import ForkedProcess

ROOT = Path(__file__).parent.parent
POLL_S = 0.02

_PYTHONPATH = os.environ.get("PYTHONPATH")


def environment(settings: Settings) -> dict[str, str]:
    """The variables that make another process read these very settings."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("ENRICH_")}
    return inherited | dict(_variables(settings, "ENRICH"))


def _variables(group: BaseModel, prefix: str) -> Iterator[tuple[str, str]]:
    separator = "_" if prefix == "ENRICH" else "__"
    for name in type(group).model_fields:
        value, key = getattr(group, name), f"{prefix}{separator}{name.upper()}"
        if isinstance(value, BaseModel):
            yield from _variables(value, key)
        elif value is not None:
            yield key, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return json.dumps(value) if isinstance(value, tuple) else str(value)


Child = subprocess.Popen[bytes] | ForkedProcess


@contextlib.contextmanager
def running(settings: Settings, *arguments: str, log: Path | None = None) -> Iterator[Child]:
    """Runs `enrich ARGUMENTS…` while the block runs, and ends it by SIGTERM. Its output goes to `log`, else to ours.

    Takes the fork server's modules, unless a test has changed what a new interpreter loads.
    """
    child = _start(settings, arguments, log)
    try:
        yield child
    finally:
        stop(child)


def _start(settings: Settings, arguments: Sequence[str], log: Path | None) -> Child:
    if os.environ.get("PYTHONPATH") == _PYTHONPATH:
        return ForkedProcess(arguments, environment(settings), ROOT, log)
    command = [sys.executable, "-m", "cli.main", *arguments]
    with log.open("ab") if log else contextlib.nullcontext() as output:
        return subprocess.Popen(command, cwd=ROOT, env=environment(settings), stdout=output, stderr=output)


def stop(child: Child, grace_s: float = 30) -> int:
    """Sends SIGTERM, and SIGKILL after `grace_s`. Returns the exit status."""
    if child.poll() is None:
        child.terminate()
    try:
        return child.wait(grace_s)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def wait_until(is_so: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Returns as soon as `is_so`; AssertionError naming `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}"
        time.sleep(POLL_S)


def wait_for_file(path: Path, child: Child, timeout_s: float = 90) -> None:
    """Waits for a heartbeat file, as a probe would."""
    wait_until(lambda: path.exists() or child.poll() is not None, timeout_s, f"the file {path.name}")
    assert child.poll() is None, f"the process ended with {child.returncode} before it was ready"


def wait_for_api(base: str, timeout_s: float = 30) -> None:
    """Waits until /readyz answers 200."""

    def is_ready() -> bool:
        with contextlib.suppress(urllib3.exceptions.HTTPError), urllib3.PoolManager() as http:
            return http.request("GET", f"{base}/readyz", retries=False, timeout=2).status == 200
        return False

    wait_until(is_ready, timeout_s, "the api")

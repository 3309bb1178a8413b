"""Runs decode child processes: sends them pictures, waits until a deadline, and kills those that are late."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
from multiprocessing import Pipe
from typing import Any

from PIL import Image

from core.errors import EnrichError, ImageTooLarge, ImageUndecodable, Poison, UnsupportedMediaType
from core.settings import DecodeSettings
from core.telemetry.logs import get_logger
from worker.process.memory import allocator_environment

log = get_logger(__name__)

_ERRORS: dict[str, type[EnrichError]] = {
    error.code: error for error in (ImageTooLarge, ImageUndecodable, UnsupportedMediaType)
}

_SECRET_PREFIXES = ("ENRICH_", "AWS_", "OTEL_")


@dataclasses.dataclass(frozen=True)
class Received:
    """A picture from a child: upright RGB, at a reduced size. `width` and `height` are those of the original."""

    image: Image.Image
    width: int
    height: int
    format: str


class _Late(Exception):
    pass


class _Child:
    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "worker.process.decode_child", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            env=_environment(),
            pass_fds=[theirs.fileno()],
        )
        theirs.close()  # otherwise the end of the child would not close the connection

    def ask(self, request: dict[str, Any], data: bytes, deadline: float) -> tuple[dict[str, Any], bytes]:
        """Returns the head and the pixels of the answer. Raises EOFError or OSError if the child died, _Late."""
        self._connection.send_bytes(json.dumps(request).encode())
        self._connection.send_bytes(data)
        if not self._connection.poll(max(0.0, deadline - time.monotonic())):
            raise _Late
        return json.loads(self._connection.recv_bytes()), self._connection.recv_bytes()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._connection.close()


class DecodeProcesses:
    """Children that decode pictures, each one at a time. Thread-safe.

    A child serves until it dies, is late, or the pool is closed. There are as many as pictures were ever decoded at
    a time.
    """

    def __init__(self, limits: DecodeSettings, deadline_s: float) -> None:
        self._limits = limits.model_dump(mode="json")
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()
        self._is_closed = False

    def start(self) -> None:
        """Starts one child, so that the first picture does not wait for it."""
        self._give(self._take())

    def decode(self, data: bytes, *, target: int, megapixels: float) -> Received:
        """Decodes a picture in a child, which is killed if it takes longer than the deadline.

        target: the longest side of the model's input, in pixels.
        megapixels: of the picture, which bound the child's memory.
        Raises UnsupportedMediaType, ImageTooLarge, ImageUndecodable, and Poison if two children died of it.
        """
        request = {"target": target, "megapixels": megapixels, "limits": self._limits, "cpu_s": 2 * self._deadline_s}
        answer = self._ask(request, data) or self._ask(request, data)
        if answer is None:
            raise Poison("Each process that decoded the picture crashed: save it again, as a JPEG or PNG.")
        head, pixels = answer
        if "code" in head:
            raise _error_of(head)
        image = Image.frombytes("RGB", tuple(head["size"]), pixels)
        return Received(image, head["width"], head["height"], head["format"])

    def close(self) -> None:
        """Kills all children."""
        with self._lock:
            self._is_closed = True
            children, self._all, self._idle = self._all, set(), []
        for child in children:
            child.kill()

    def _ask(self, request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes] | None:
        """Returns the answer; None if the child died."""
        child = self._take()
        try:
            answer = child.ask(request, data, time.monotonic() + self._deadline_s)
        except _Late:
            self._discard(child)
            log.warning("decode_killed", seconds=self._deadline_s)
            raise ImageUndecodable(
                f"Decoding the picture took more than {self._deadline_s:g} s: save it again, as a JPEG or PNG."
            ) from None
        except (EOFError, OSError):
            self._discard(child)
            log.warning("decode_process_died")
            return None
        self._give(child)
        return answer

    def _take(self) -> _Child:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            if self._is_closed:
                raise RuntimeError("the worker is closing")
            child = _Child()
            self._all.add(child)
            return child

    def _give(self, child: _Child) -> None:
        with self._lock:
            self._idle.append(child)

    def _discard(self, child: _Child) -> None:
        with self._lock:
            self._all.discard(child)
        child.kill()


def _environment() -> dict[str, str]:
    """Returns a child's environment: malloc's settings, and no passwords, for the case that a decoder is taken over."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(_SECRET_PREFIXES)}
    return allocator_environment(own)


def _error_of(head: dict[str, Any]) -> Exception:
    kind = _ERRORS.get(head["code"])
    return kind(head["message"]) if kind else RuntimeError(head["message"])

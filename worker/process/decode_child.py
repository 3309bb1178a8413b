"""The decode child process: decodes pictures one at a time, so that a hang, a crash or too much memory ends only it.

    python -m worker.process.decode_child FD

It loads no torch, and answers over a socket in JSON and raw bytes, because what a decoder that was taken over sends
must not be unpickled.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

from core.errors import EnrichError, ImageTooLarge
from core.settings import MIB, DecodeSettings
from worker.image.decode import Decoded, decode

SLACK_BYTES = 256 * MIB
BYTES_PER_PIXEL = 24
"""A child may take this much memory beyond its start: see docs/operate/sizing.md."""

KEPT_SIDES = 6
"""The picture is sent at this many times the model's input, for the model's own resizing to start from."""

PARENT_EVERY_S = 1.0

_TOO_MUCH = "Decoding the picture takes more memory than one of its size should: save it again, as a JPEG or PNG."


def main(descriptor: int) -> None:
    """Serves requests until the parent closes the connection."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # Signals may reach the whole process group; the parent decides when the child ends.
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_exit_with, args=(os.getppid(),), name="parent", daemon=True).start()
    base_bytes = _data_bytes()
    with Connection(descriptor) as connection, contextlib.suppress(EOFError, OSError):
        while True:
            request, data = json.loads(connection.recv_bytes()), connection.recv_bytes()
            head, pixels = _answer(request, data, base_bytes)
            connection.send_bytes(json.dumps(head).encode())
            connection.send_bytes(pixels)
            del data, pixels


def _answer(request: dict[str, Any], data: bytes, base_bytes: int) -> tuple[dict[str, Any], bytes]:
    """Returns the head of the answer, with a picture's size or an error, and the picture's pixels."""
    most = base_bytes + len(data) + SLACK_BYTES + int(request["megapixels"] * 1_000_000 * BYTES_PER_PIXEL)
    try:
        with _limited(most, request["cpu_s"]):
            decoded = decode(data, DecodeSettings(**request["limits"]), target=request["target"])
            image = _smaller(decoded, request["target"])
            head = {"size": image.size, "width": decoded.width, "height": decoded.height, "format": decoded.format}
            return head, image.tobytes()
    except EnrichError as error:
        return {"code": error.code, "message": error.message}, b""
    except MemoryError:
        return {"code": ImageTooLarge.code, "message": _TOO_MUCH}, b""
    except Exception as unexpected:  # noqa: BLE001 - the parent logs it, and raises it as its own
        return {"code": "", "message": repr(unexpected)}, b""


def _smaller(decoded: Decoded, target: int) -> Any:
    factor = max(decoded.image.size) // (KEPT_SIDES * target)
    return decoded.image.reduce(factor) if factor > 1 else decoded.image


@contextlib.contextmanager
def _limited(data_bytes: int, cpu_s: float) -> Any:
    """Bounds the memory of the block, and its CPU time for the case that the parent dies while it hangs."""
    _, most_data = resource.getrlimit(resource.RLIMIT_DATA)
    _, most_cpu = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + cpu_s) + 1, most_cpu))
    resource.setrlimit(resource.RLIMIT_DATA, (data_bytes, most_data))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (most_data, most_data))
        resource.setrlimit(resource.RLIMIT_CPU, (most_cpu, most_cpu))


def _data_bytes() -> int:
    """Returns what RLIMIT_DATA counts now, 0 where it cannot be read."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as status:
        return next((int(line.split()[1]) * 1024 for line in status if line.startswith("VmData:")), 0)
    return 0


def _exit_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_EVERY_S)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))

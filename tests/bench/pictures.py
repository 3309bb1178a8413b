"""The pictures all subjects get: drawn, all different, served over HTTP by a process of its own."""

from __future__ import annotations

import contextlib
import functools
import http.server
import io
import multiprocessing
import tempfile
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def draw(number: int, width: int = 900, height: int = 1200) -> bytes:
    """A JPEG of a shirt-like shape on white; `number` decides colour, pattern and place."""
    random = np.random.default_rng(number)
    image = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(image)
    colour = tuple(int(part) for part in random.integers(0, 255, 3))
    left, top = (int(part) for part in random.integers(60, 200, 2))
    pen.rounded_rectangle((left, top, width - left, height - top), 80, fill=colour)
    for y in range(top, height - top, int(random.integers(20, 90))):
        pen.line((left, y, width - left, y), fill=tuple(255 - part for part in colour), width=4)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=88)
    return out.getvalue()


@contextlib.contextmanager
def served(count: int) -> Iterator[list[str]]:
    """Addresses of `count` different pictures while the block runs."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            (Path(folder) / f"{number}.jpg").write_bytes(draw(number))
        ours, theirs = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(target=_serve, args=(folder, theirs), daemon=True)
        server.start()
        try:
            port = ours.recv()
            yield [f"http://127.0.0.1:{port}/{number}.jpg" for number in range(count)]
        finally:
            server.terminate()
            server.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Says nothing: a line per picture would cost more than serving it."""


def _serve(folder: str, pipe: Connection) -> None:
    handler = functools.partial(_Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        pipe.send(server.server_port)
        server.serve_forever()

"""A picture that kills every process which opens it, as a broken C decoder would: for tests of what outlives that."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests import pictures

MARK = b"end this process"

# Python runs a module of this name at the start of each process: spawned children meet the same decoder.
_SITECUSTOMIZE = f"""
import os, signal
from PIL import GifImagePlugin

_open = GifImagePlugin.GifImageFile._open

def fatal_open(self):
    if {MARK!r} in self.fp.getvalue():
        os.kill(os.getpid(), signal.SIGKILL)
    _open(self)

GifImagePlugin.GifImageFile._open = fatal_open
"""


def picture() -> bytes:
    """A GIF that is fine by itself."""
    return pictures.encoded(pictures.drawn(), "GIF", comment=MARK)


@contextmanager
def fatal_decoder(folder: Path) -> Iterator[None]:
    """Processes started in the block have a GIF decoder that dies of the picture."""
    (folder / "sitecustomize.py").write_text(_SITECUSTOMIZE)
    before: Mapping[str, str] = dict(os.environ)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), before.get("PYTHONPATH")]))
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH")
        os.environ.update(before)

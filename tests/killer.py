"""Pictures that end, stop or slow every process which opens them, as a broken C decoder would, and a model that hangs.

For tests of what outlives that: the code gets into real processes and their children without a change of ours.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests import pictures

MARK = b"end this process"
HANG = b"never return"
SLOW = b"take a second"

# Python runs a module of this name at the start of each process: spawned children meet the same decoder.
_DECODER = f"""
import os, signal, time
from PIL import GifImagePlugin, WebPImagePlugin

def odd(_open):
    def odd_open(self):
        data = self.fp.getvalue()
        if {MARK!r} in data:
            os.kill(os.getpid(), signal.SIGKILL)
        while {HANG!r} in data:
            time.sleep(1)
        if {SLOW!r} in data:
            time.sleep(1)
        _open(self)
    return odd_open

for kind in (GifImagePlugin.GifImageFile, WebPImagePlugin.WebPImageFile):
    kind._open = odd(kind._open)
"""

# The module is changed when it is imported, since this runs before the program knows where its own modules are.
_MODEL = """
import importlib.machinery, os, sys, time

def hang(module):
    predict = module.Predictor.predict
    def hanging_predict(self, batch):
        while os.path.exists(SWITCH):
            time.sleep(0.1)
        return predict(self, batch)
    module.Predictor.predict = hanging_predict

class Finder:
    def find_spec(self, name, path, target=None):
        if name != "model.predictor":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (load(module), hang(module))
        return spec

sys.meta_path.insert(0, Finder())
"""


def picture(mark: bytes = MARK, kind: str = "WEBP") -> bytes:
    """A picture that is fine by itself: a WebP, which a worker decodes in its own process, or a GIF: a child does."""
    return pictures.encoded(pictures.drawn(), kind, **{"comment" if kind == "GIF" else "xmp": mark})


@contextmanager
def fatal_decoder(folder: Path) -> Iterator[None]:
    """Processes started in the block have decoders of WebP and GIF that do what the pictures' marks say."""
    with _injected(folder, _DECODER):
        yield


@contextmanager
def hanging_model(folder: Path) -> Iterator[Path]:
    """Processes started in the block have a model whose calls do not return while the file that is given exists."""
    switch = folder / "hang"
    with _injected(folder, f"SWITCH = {str(switch)!r}\n{_MODEL}"):
        yield switch


@contextmanager
def _injected(folder: Path, code: str) -> Iterator[None]:
    (folder / "sitecustomize.py").write_text(code)
    before: Mapping[str, str] = dict(os.environ)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), before.get("PYTHONPATH")]))
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH")
        os.environ.update(before)

"""Huge pictures of every format at once through the decoding of a real worker process, and the memory it takes.

`python -m tests.fuzz.memory --each N [NAME…]` prints one JSON object: the memory before, at most and afterwards, of the
process and its children together, in MiB, and what became of the pictures.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import click
import psutil
import yaml

from core.errors import JobError
from core.jobs.lifecycle import Claim
from core.settings import MIB, Settings
from core.states import Lane
from model.predictor import Predictor
from tests import hostile, pictures
from tests.deploy.kubernetes.manifests import mebibytes
from tests.processes import ROOT
from worker.image.decoder import Decoder
from worker.process.memory import allocator_environment

WORKER = ROOT / "deploy" / "k8s" / "base" / "worker.yaml"
POLL_S = 0.02
SETTLE_S = 1.0


@dataclasses.dataclass(frozen=True)
class Memory:
    """Resident memory in MiB, how the pictures ended, and the seconds that all took."""

    before_mib: float
    most_mib: float
    after_mib: float
    ended: dict[str, int]
    seconds: float

    @property
    def growth(self) -> float:
        return self.after_mib / self.before_mib - 1


def requested_mib() -> float:
    """The memory that the manifests request for a worker."""
    worker = yaml.safe_load(WORKER.read_text(encoding="utf-8"))
    (container,) = worker["spec"]["template"]["spec"]["containers"]
    return mebibytes(container["resources"]["requests"]["memory"])


def decode_apart(each: int, names: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> Memory:
    """Decodes `each` pictures of every kind at once in a process of its own, with the environment of a worker."""
    with tempfile.TemporaryDirectory() as folder:
        for name in names or hostile.SOLID:
            (Path(folder) / name).write_bytes(hostile.solid_file(name))
        child = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.memory", "--each", str(each), "--folder", folder],
            cwd=ROOT,
            env=allocator_environment(os.environ if environment is None else environment),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return Memory(**json.loads(child.stdout.splitlines()[-1]))


@click.command(help=__doc__)
@click.option("--each", default=16, show_default=True, help="pictures of each kind")
@click.option("--folder", type=click.Path(path_type=Path), help="files that are drawn already")
@click.argument("names", nargs=-1)
def main(each: int, folder: Path | None, names: Sequence[str]) -> None:
    if folder is None:  # drawing takes memory of its own
        print(json.dumps(dataclasses.asdict(decode_apart(each, names))))
        return
    files = [file.read_bytes() for file in sorted(folder.iterdir())]
    print(json.dumps(dataclasses.asdict(decode_here(files, each))))


def decode_here(files: Sequence[bytes], each: int) -> Memory:
    """The same in this process."""
    settings = Settings(log_level="error")
    predictor = Predictor.load(settings.worker.bundle)
    predictor.warm_up()
    decoder = Decoder(settings, predictor)
    decoder.start()
    with ThreadPoolExecutor(len(files) * each) as threads:
        list(threads.map(lambda file: _decode(decoder, file), [pictures.jpeg(1200, 1600), pictures.GOOD["gif"]()] * 4))
        time.sleep(SETTLE_S)
        before, started = resident_mib(), time.monotonic()
        with _most() as most:
            ended = Counter(threads.map(lambda file: _decode(decoder, file), list(files) * each))
        seconds = time.monotonic() - started
        time.sleep(SETTLE_S)
        after = resident_mib()
    decoder.close()
    return Memory(before, most[0], after, dict(ended), seconds)


def _decode(decoder: Decoder, data: bytes) -> str:
    claim = Claim(uuid.uuid4(), 1, "owner", "upload", True, Lane.BULK, 0, 0, 0.0)
    try:
        with decoder.reserve(claim, data) as decode:
            return decode().format
    except JobError as error:
        return error.code


def resident_mib() -> float:
    """Resident memory of this process and its children."""
    own = psutil.Process()
    return sum(each.memory_info().rss for each in [own, *own.children()]) / MIB


@contextmanager
def _most() -> Iterator[list[float]]:
    """The most memory that the block took."""
    most, is_over = [0.0], threading.Event()

    def watch() -> None:
        while not is_over.wait(POLL_S):
            most[0] = max(most[0], resident_mib())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        is_over.set()
        thread.join()


if __name__ == "__main__":
    main()

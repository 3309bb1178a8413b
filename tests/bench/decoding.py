"""Decoding with malloc's default and with the worker's settings: `python -m tests.bench.decoding`.

Speed of ordinary photos, in processes of both kinds in turn (the fastest of each, as other processes only slow them
down), and the memory that eight large WebPs leave behind when they are decoded in threads of one process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import click
import psutil

from core.settings import MIB, DecodeSettings
from tests import hostile, pictures
from tests.processes import ROOT
from worker.image.decode import decode
from worker.process.memory import MALLOC_DEFAULTS

KINDS = ("JPEG", "PNG", "WEBP")
SIZE = (1200, 1600)
TARGET = 128
THREADS = 4
LARGE = 6000


@click.command(help=__doc__)
@click.option("--rounds", default=5, show_default=True, help="processes of each kind")
@click.option("--pictures", "count", default=40, show_default=True, help="photos of each format per process")
@click.option("--here", is_flag=True, hidden=True)
def main(rounds: int, count: int, here: bool) -> None:
    if here:
        print(json.dumps(_measure(count)))
        return
    runs: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for _ in range(rounds):
        for is_set in runs:
            runs[is_set].append(_in_process(count, is_set=is_set))
    click.echo(f"{'1200 x 1600, or as named':<32}{'default':>10}{'settings':>10}{'ratio':>8}")
    for name in runs[True][0]:
        default, setting = (min(run[name] for run in runs[is_set]) for is_set in (False, True))
        click.echo(f"{name:<32}{default:>10.2f}{setting:>10.2f}{setting / default:>8.3f}")


def _in_process(count: int, *, is_set: bool) -> dict[str, float]:
    plain = {name: value for name, value in os.environ.items() if name not in MALLOC_DEFAULTS}
    command = [sys.executable, "-m", "tests.bench.decoding", "--here", "--pictures", str(count)]
    environment = plain | dict(MALLOC_DEFAULTS) if is_set else plain
    told = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(told.stdout)
    return figures


def _measure(count: int) -> dict[str, float]:
    """CPU time per photo in milliseconds, and memory in MiB."""
    figures = {f"{kind}, ms of CPU": _cpu_ms(kind, count) for kind in KINDS}
    data = hostile.solid("WEBP", LARGE, quality=0, method=0)
    before = psutil.Process().memory_info().rss
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(lambda _: _decode(data), range(2 * THREADS)))
        figures["8 WebPs of 36 MP, MiB kept"] = (psutil.Process().memory_info().rss - before) / MIB
    return figures


def _cpu_ms(kind: str, count: int) -> float:
    photo = pictures.encoded(pictures.photo(*SIZE), kind)
    _decode(photo)
    started = time.process_time()
    for _ in range(count):
        _decode(photo)
    return (time.process_time() - started) / count * 1000


def _decode(data: bytes) -> None:
    decode(data, DecodeSettings(), target=TARGET)


if __name__ == "__main__":
    main()

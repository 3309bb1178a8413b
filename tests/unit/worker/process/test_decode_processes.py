"""Child processes decode, answer with our errors, and are killed when they hang, crash or take too much memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from core.errors import ImageTooLarge, ImageUndecodable, JobError, Poison
from core.settings import DecodeSettings
from tests import hostile, killer, pictures
from tests.processes import ROOT, wait_until
from worker.image.decode import decode
from worker.process.decode_processes import DecodeProcesses
from worker.process.memory import MALLOC_DEFAULTS

LIMITS = DecodeSettings()
TARGET = 128


@pytest.fixture
def processes() -> Iterator[DecodeProcesses]:
    pool = DecodeProcesses(LIMITS, deadline_s=30)
    yield pool
    pool.close()


def children() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if "worker.process.decode_child" in each.cmdline()]


@pytest.mark.parametrize("name", ["jpeg", "png_alpha", "gif", "bmp", "tiff_orientation_6", "avif", "heic", "webp"])
def test_a_child_decodes_as_the_worker_does(processes, name):
    data = pictures.GOOD[name]()

    received, expected = processes.decode(data, target=TARGET, megapixels=0.01), decode(data, LIMITS, target=TARGET)

    assert received.image.tobytes() == expected.image.tobytes()
    assert (received.width, received.height, received.format) == (expected.width, expected.height, expected.format)


def test_a_large_picture_is_sent_at_a_reduced_size(processes):
    received = processes.decode(pictures.encoded(pictures.drawn(4000, 3000), "PNG"), target=TARGET, megapixels=12)

    assert (received.width, received.height) == (4000, 3000)
    assert 6 * TARGET <= max(received.image.size) < 12 * TARGET
    assert received.image.getpixel((5, 5)) == pictures.FIELDS[0]


@pytest.mark.parametrize("name", pictures.BAD)
def test_errors_are_the_same_as_in_the_worker(processes, name):
    make, code = pictures.BAD[name]

    with pytest.raises(JobError) as caught:
        processes.decode(make(), target=TARGET, megapixels=1)
    assert caught.value.code == code


def test_children_are_used_again_and_end_with_the_pool(processes):
    processes.start()
    (child,) = children()
    for _ in range(3):
        processes.decode(pictures.jpeg(), target=TARGET, megapixels=0.01)
    assert children() == [child]
    processes.close()
    assert children() == []


def test_a_child_that_died_while_idle_is_replaced(processes):
    processes.start()
    (child,) = children()
    child.kill()
    child.wait(5)

    assert processes.decode(pictures.jpeg(), target=TARGET, megapixels=0.01).width == pictures.WIDTH


def test_a_hanging_decode_is_killed_and_its_neighbours_finish_meanwhile(tmp_path):
    with killer.fatal_decoder(tmp_path), ThreadPoolExecutor(4) as threads:
        pool = DecodeProcesses(LIMITS, deadline_s=4)
        pool.start()
        started = time.monotonic()
        hanging = threads.submit(pool.decode, killer.picture(killer.HANG, "GIF"), target=TARGET, megapixels=0.01)
        for _ in range(5):
            pool.decode(pictures.jpeg(), target=TARGET, megapixels=0.01)
        assert not hanging.done()
        with pytest.raises(ImageUndecodable, match="took more than 4 s"):
            hanging.result(10)
        assert 4 <= time.monotonic() - started < 8
        assert pool.decode(pictures.jpeg(), target=TARGET, megapixels=0.01).width == pictures.WIDTH
        pool.close()
    assert children() == []


def test_a_decode_that_kills_its_process_is_poison_and_kills_no_other(tmp_path):
    with killer.fatal_decoder(tmp_path):
        pool = DecodeProcesses(LIMITS, deadline_s=20)
        with pytest.raises(Poison):
            pool.decode(killer.picture(kind="GIF"), target=TARGET, megapixels=0.01)
        assert pool.decode(pictures.jpeg(), target=TARGET, megapixels=0.01).width == pictures.WIDTH
        pool.close()


def test_a_picture_that_takes_more_memory_than_its_size_allows_is_refused(processes):
    with pytest.raises(ImageTooLarge, match="memory"):
        processes.decode(hostile.solid("PNG"), target=TARGET, megapixels=0.01)


def test_an_unexpected_error_is_ours_and_not_the_pictures(processes):
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        processes.decode(pictures.jpeg(), target=0, megapixels=0.01)


def test_children_end_with_their_parent(tmp_path: Path):
    code = (
        "import os, time\nfrom core.settings import DecodeSettings\n"
        "from worker.process.decode_processes import DecodeProcesses\n"
        "DecodeProcesses(DecodeSettings(), 30).start()\nprint('ready', flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        (child,) = psutil.Process(parent.pid).children()
        os.kill(parent.pid, signal.SIGKILL)
    wait_until(lambda: not child.is_running(), 10, "the child to end")


def test_children_know_no_passwords(processes, monkeypatch):
    monkeypatch.setenv("ENRICH_DATABASE__URL", "postgresql://enrich:secret@db/enrich")
    processes.start()
    (child,) = children()

    assert not [name for name in child.environ() if name.startswith("ENRICH_")]
    assert child.environ().items() >= MALLOC_DEFAULTS.items()


def test_children_load_no_torch():
    code = "import sys, worker.process.decode_child; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0

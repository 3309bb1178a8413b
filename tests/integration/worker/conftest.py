"""A real worker process of the test's own, with a tiny seeded bundle, and an HTTP server with pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from subprocess import Popen

import pytest

from core.settings import Settings
from tests.image_server import ImageServer
from tests.processes import running, wait_for_file
from train.synthetic.tiny import make_tiny_bundle

StartWorker = Callable[..., AbstractContextManager[Popen[bytes]]]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with random weights that loads at once."""
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def images() -> Iterator[ImageServer]:
    with ImageServer() as server:
        yield server


@pytest.fixture(scope="module")
def start_worker(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> StartWorker:
    """Starts `enrich worker` for the settings, and waits until it is ready. Its lines go to `log`, if it is given."""

    @contextlib.contextmanager
    def start(settings: Settings, lane: str = "interactive", log: Path | None = None) -> Iterator[Popen[bytes]]:
        folder = tmp_path_factory.mktemp("worker")
        heartbeat = folder / "heartbeat"
        own = settings.worker.model_copy(update={"bundle": bundle, "heartbeat_file": heartbeat})
        settings = settings.model_copy(update={"worker": own})
        with running(settings, "worker", "--lane", lane, log=log or folder / "worker.log") as child:
            wait_for_file(heartbeat, child)
            yield child

    return start

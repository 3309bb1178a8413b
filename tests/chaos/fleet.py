"""The whole service as real processes that are killed one at a time and come back as under a supervisor."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import SecretStr
from redis import Redis

from cli.local.postgres import EmbeddedPostgres
from cli.local.redis import EmbeddedRedis
from cli.local.server import kill_tree
from core.db.engine import migrate
from core.settings import (
    ApiSettings,
    DatabaseSettings,
    FetchSettings,
    JobSettings,
    QueueSettings,
    Settings,
    StorageSettings,
    WorkerSettings,
)
from tests.ports import free_port
from tests.processes import ROOT, environment, stop, wait_for_api, wait_for_file
from train.synthetic.tiny import make_tiny_bundle

KINDS = ("worker", "dispatcher", "api", "redis", "postgres")
COMMANDS = {
    "api": ("api",),
    "dispatcher": ("dispatcher",),
    "interactive": ("worker", "--lane", "interactive"),
    "bulk": ("worker", "--lane", "bulk"),
}


class Fleet:
    """Postgres, Redis (without a file: a restart has lost everything), API, dispatcher and both workers in `folder`."""

    def __init__(self, folder: Path, jobs: JobSettings) -> None:
        self.folder = folder
        self.postgres = EmbeddedPostgres(folder / "postgres")
        self.redis = EmbeddedRedis(folder / "redis", aof=False)
        self._jobs = jobs
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self.postgres.start()
        self.redis.start()
        self.settings = Settings(
            database=DatabaseSettings(url=SecretStr(self.postgres.url)),
            queue=QueueSettings(url=SecretStr(self.redis.url)),
            storage=StorageSettings(folder=self.folder / "uploads"),
            fetch=FetchSettings(allow_networks=("127.0.0.0/8",)),
            worker=WorkerSettings(bundle=make_tiny_bundle(self.folder / "bundle"), threads=16),
            api=ApiSettings(require_key=False, port=free_port(), rate_per_s=1e6, rate_burst=10**6),
            jobs=self._jobs,
            log_level="warning",
        )
        migrate(self.settings)
        for name in COMMANDS:
            self._start(name)
        wait_for_api(self.base)
        for lane in ("interactive", "bulk"):
            wait_for_file(self._heartbeat(lane), self._children[lane])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children.values():
            stop(child)
        self.redis.stop()
        self.postgres.stop()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.settings.api.port}"

    def kill(self, kind: str, dice: random.Random) -> str:
        """`kill -9` for one of that kind; answers its name, for `revive`. Redis is only emptied half of the time."""
        if kind == "postgres":
            self.postgres.kill()
        elif kind == "redis" and dice.random() < 0.5:
            with Redis.from_url(self.redis.url) as redis:
                redis.flushall()
            return "nothing"
        elif kind == "redis":
            self.redis.kill()
        else:
            name = dice.choice(("interactive", "bulk")) if kind == "worker" else kind
            kill_tree(self._children[name].pid)
            self._children[name].wait()
            return name
        return kind

    def revive(self, name: str) -> None:
        """Start again what was killed, and whatever has ended by itself meanwhile: a supervisor would, too."""
        if name == "postgres":
            self.postgres.start()
        elif name == "redis":
            self.redis.start()
        for each, child in self._children.items():
            if child.poll() is not None:
                self._start(each)

    def _start(self, name: str) -> None:
        worker = self.settings.worker.model_copy(update={"heartbeat_file": self._heartbeat(name)})
        settings = self.settings.model_copy(update={"worker": worker})
        with contextlib.suppress(FileNotFoundError):
            self._heartbeat(name).unlink()
        with (self.folder / f"{name}.log").open("ab") as log:
            self._children[name] = subprocess.Popen(
                [sys.executable, "-m", "cli.main", *COMMANDS[name]],
                cwd=ROOT,
                env=environment(settings),
                stdout=log,
                stderr=log,
            )

    def _heartbeat(self, name: str) -> Path:
        return self.folder / f"{name}.heartbeat"

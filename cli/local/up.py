"""`enrich up`: the whole service on one machine, with nothing to install and one Ctrl-C for all of it.

The same processes as in production; only the addresses differ. Everything it keeps lies under one folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import urllib3
from pydantic import SecretStr

from cli.local.console import Console
from cli.local.environment import (
    DATABASE_URL,
    QUEUE_URL,
    child_environment,
    longest_grace_s,
    requires_key,
    with_metrics_port,
)
from cli.local.folder import FolderLock, make_folder
from cli.local.guardian import Guardian
from cli.local.lanes import EXIT_S, LANES, lane_children
from cli.local.postgres import EmbeddedPostgres
from cli.local.processes import Child, Supervisor
from cli.local.redis import EmbeddedRedis
from cli.local.server import Server, is_port_free
from cli.local.stopping import StopSignals
from core.db.engine import migrate
from core.loopback import refuse_exposure
from core.settings import DatabaseSettings, MetricsSettings, Settings
from core.startup_errors import PortTaken


@dataclass(frozen=True)
class UpOptions:
    """What the command line says.

    Args:
        front_door: the command that starts `enrich`; children are started with it.
        host: address that the API listens on.
        metrics_port: the interactive worker's; the bulk worker and the dispatcher use the next two ports. None serves
            the API's metrics only.
    """

    front_door: Sequence[str]
    data_dir: Path = Path("data")
    host: str = "127.0.0.1"
    port: int = 8000
    metrics_port: int | None = None

    @property
    def dispatcher_metrics_port(self) -> int | None:
        return None if self.metrics_port is None else self.metrics_port + len(LANES)


@dataclass
class Up:
    """One run of `enrich up`."""

    options: UpOptions
    console: Console
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def run(self) -> None:
        """Starts everything, keeps it running until a signal, and stops everything. Raises StartError."""
        started_at = time.monotonic()
        # Before anything is started: the clearest moment to say so.
        refuse_exposure(self.options.host, require_key=requires_key(self.environment))
        self._check_ports()
        with StopSignals() as signals, ExitStack() as stack:
            data_dir = self._open_data_dir(stack)
            guardian = Guardian()
            stack.callback(guardian.close)
            servers, environment = self._start_servers(data_dir, guardian, signals, stack)
            if signals.is_set:
                return
            self._migrate(environment)
            supervisor = self._supervisor(data_dir, environment, signals, guardian)
            stack.callback(supervisor.stop)
            stack.callback(self.console.say, "stopping …")
            if supervisor.start():
                self._say_ready(time.monotonic() - started_at)
                supervisor.run(on_tick=lambda: self._mend(servers, guardian))
        self.console.say("stopped; nothing is left running")

    def _check_ports(self) -> None:
        wanted = [(self.options.port, self.options.host, "--port")]
        if self.options.metrics_port is not None:
            host = self.environment.get("ENRICH_METRICS__HOST") or MetricsSettings().host
            wanted += [(self.options.metrics_port + n, host, "--metrics-port") for n in range(len(LANES) + 1)]
        for port, host, option in wanted:
            if not is_port_free(port, host):
                raise PortTaken(
                    f"Port {port} on {host} is taken: stop what listens there, or choose another with {option}."
                )

    def _open_data_dir(self, stack: ExitStack) -> Path:
        data_dir = make_folder(self.options.data_dir, is_private=False)
        lock = FolderLock(data_dir / "lock")
        lock.acquire()
        stack.callback(lock.release)
        self.console.say(f"starting on this machine; everything is kept in {data_dir}")
        return data_dir

    def _start_servers(
        self, data_dir: Path, guardian: Guardian, signals: StopSignals, stack: ExitStack
    ) -> tuple[list[Server], dict[str, str]]:
        """Our own Postgres and Redis, each unless the user's environment names one; and the children's environment."""
        candidates = {
            DATABASE_URL: EmbeddedPostgres(data_dir / "postgres"),
            QUEUE_URL: EmbeddedRedis(data_dir / "redis"),
        }
        urls, servers = {}, []
        for variable, server in candidates.items():
            if given := self.environment.get(variable):
                self.console.say(f"  {server.name:<20} yours, from {variable}")
                urls[variable] = given
            elif not signals.is_set:
                urls[variable] = self._start_server(server, guardian, stack)
                servers.append(server)
        environment = child_environment(
            self.environment,
            data_dir=data_dir,
            database_url=urls.get(DATABASE_URL, ""),
            queue_url=urls.get(QUEUE_URL, ""),
            host=self.options.host,
            port=self.options.port,
        )
        return servers, environment

    def _start_server(self, server: Server, guardian: Guardian, stack: ExitStack) -> str:
        started_at = time.monotonic()
        url = server.start()
        stack.callback(server.stop)
        self._watch(server, guardian)
        self._say_started(server.name, time.monotonic() - started_at)
        return url

    def _watch(self, server: Server, guardian: Guardian) -> None:
        assert server.pid is not None
        guardian.watch(server.pid, server.stop_signal)

    def _mend(self, servers: Sequence[Server], guardian: Guardian) -> None:
        """Starts a server again that ended by itself, at the same address."""
        for server in servers:
            if server.is_running:
                continue
            self.console.say(f"{server.name} ended; starting it again. Its last words:\n{server.last_words()}")
            assert server.pid is not None
            guardian.forget(server.pid)
            server.restart()
            self._watch(server, guardian)

    def _migrate(self, environment: Mapping[str, str]) -> None:
        started_at = time.monotonic()
        migrate(database_settings(environment))
        self._say_started("schema", time.monotonic() - started_at)

    def _supervisor(
        self, data_dir: Path, environment: Mapping[str, str], signals: StopSignals, guardian: Guardian
    ) -> Supervisor:
        return Supervisor(
            [
                self._api(environment),
                *lane_children(self.options.front_door, environment, data_dir / "run", self.options.metrics_port),
                Child(
                    "dispatcher",
                    [*self.options.front_door, "dispatcher"],
                    with_metrics_port(environment, self.options.dispatcher_metrics_port),
                ),
            ],
            console=self.console,
            signals=signals,
            guardian=guardian,
            on_ready=self._say_started,
            grace_s=longest_grace_s(environment) + EXIT_S,
        )

    def _api(self, environment: Mapping[str, str]) -> Child:
        url = f"{self._base_url()}/readyz"
        return Child("api", [*self.options.front_door, "api"], environment, is_ready=lambda: answers_200(url))

    def _base_url(self) -> str:
        """Where this machine itself reaches the API."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.options.host, self.options.host)  # noqa: S104
        return f"http://[{host}]:{self.options.port}" if ":" in host else f"http://{host}:{self.options.port}"

    def _say_started(self, name: str, seconds: float) -> None:
        self.console.say(f"  {name:<20} ready in {seconds:.1f} s")

    def _say_ready(self, seconds: float) -> None:
        address = f"http://localhost:{self.options.port}"
        networks = "addresses on this machine (127.0.0.0/8 and ::1) may be fetched; other private networks may not"
        if "ENRICH_FETCH__ALLOW_NETWORKS" in self.environment:
            networks = "private addresses may be fetched as ENRICH_FETCH__ALLOW_NETWORKS says"
        access = "no key is asked for, and only requests of this machine are taken"
        if requires_key(self.environment):
            make = f"enrich keys --data-dir {self.options.data_dir} create --owner local --name me"
            access = f"a key is asked for (-H 'Authorization: Bearer KEY'); this makes one: {make}"
        metrics = f"{address}/metrics"
        if self.options.metrics_port is not None:
            metrics += (
                f", and ports {self.options.metrics_port} to {self.options.dispatcher_metrics_port} for the others"
            )
        self.console.say(
            f"ready in {seconds:.1f} s: open {address}\n"
            f"  try    curl -F file=@photo.jpg -H 'Prefer: wait=30' {address}/v1/jobs\n"
            f"  note   {networks}\n"
            f"  note   {access}\n"
            f"  note   metrics for Prometheus are at {metrics}\n"
            f"  stop   Ctrl-C stops all of it; what is queued goes on at the next start"
        )


def database_settings(environment: Mapping[str, str]) -> Settings:
    """Settings with the addresses of Postgres that `environment` names."""
    direct = environment.get("ENRICH_DATABASE__DIRECT_URL")
    return Settings(
        database=DatabaseSettings(
            url=SecretStr(environment[DATABASE_URL]), direct_url=SecretStr(direct) if direct else None
        )
    )


def answers_200(url: str) -> bool:
    """Whether a GET of `url` answers 200 now."""
    try:
        with urllib3.PoolManager(retries=False, timeout=2.0) as pool:
            return pool.request("GET", url).status == HTTPStatus.OK
    except urllib3.exceptions.HTTPError:
        return False

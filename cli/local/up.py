"""`enrich up`: runs the whole service on one machine, and stops all of it on Ctrl-C.

It runs the same processes as in production; only the server URLs differ. All data is stored in one folder.
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
    """Options of the command line.

    Args:
        command: the command that starts `enrich`, used for child processes.
        host: address on which the API listens.
        metrics_port: metrics port of the interactive worker; the bulk worker and the dispatcher use the next two ports.
            If None, only the API serves metrics.
    """

    command: Sequence[str]
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
        """Starts all processes, keeps them running until a signal, and stops them. Raises StartError."""
        started_at = time.monotonic()
        # Checked first, before anything is created or started.
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
                self._report_ready(time.monotonic() - started_at)
                supervisor.run(on_tick=lambda: self._restart_crashed(servers, guardian))
        self.console.say("stopped; no processes are left")

    def _check_ports(self) -> None:
        required = [(self.options.port, self.options.host, "--port")]
        if self.options.metrics_port is not None:
            host = self.environment.get("ENRICH_METRICS__HOST") or MetricsSettings().host
            required += [(self.options.metrics_port + n, host, "--metrics-port") for n in range(len(LANES) + 1)]
        for port, host, option in required:
            if not is_port_free(port, host):
                raise PortTaken(
                    f"Port {port} on {host} is taken: stop the program that uses it, or choose another with {option}."
                )

    def _open_data_dir(self, stack: ExitStack) -> Path:
        data_dir = make_folder(self.options.data_dir, is_private=False)
        lock = FolderLock(data_dir / "lock")
        lock.acquire()
        stack.callback(lock.release)
        self.console.say(f"starting; all data is stored in {data_dir}")
        return data_dir

    def _start_servers(
        self, data_dir: Path, guardian: Guardian, signals: StopSignals, stack: ExitStack
    ) -> tuple[list[Server], dict[str, str]]:
        """Starts the embedded Postgres and Redis, unless the environment names other servers.

        Returns the started servers and the environment of the children.
        """
        candidates = {
            DATABASE_URL: EmbeddedPostgres(data_dir / "postgres"),
            QUEUE_URL: EmbeddedRedis(data_dir / "redis"),
        }
        urls, servers = {}, []
        for variable, server in candidates.items():
            if external := self.environment.get(variable):
                self.console.say(f"  {server.name:<20} external, from {variable}")
                urls[variable] = external
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
        self._report_started(server.name, time.monotonic() - started_at)
        return url

    def _watch(self, server: Server, guardian: Guardian) -> None:
        assert server.pid is not None
        guardian.watch(server.pid, server.stop_signal)

    def _restart_crashed(self, servers: Sequence[Server], guardian: Guardian) -> None:
        """Restarts servers that have exited unexpectedly, at the same URL."""
        for server in servers:
            if server.is_running:
                continue
            self.console.say(f"{server.name} exited; restarting it. The end of its log:\n{server.log_tail()}")
            assert server.pid is not None
            guardian.forget(server.pid)
            server.restart()
            self._watch(server, guardian)

    def _migrate(self, environment: Mapping[str, str]) -> None:
        started_at = time.monotonic()
        migrate(database_settings(environment))
        self._report_started("schema", time.monotonic() - started_at)

    def _supervisor(
        self, data_dir: Path, environment: Mapping[str, str], signals: StopSignals, guardian: Guardian
    ) -> Supervisor:
        return Supervisor(
            [
                self._api(environment),
                *lane_children(self.options.command, environment, data_dir / "run", self.options.metrics_port),
                Child(
                    "dispatcher",
                    [*self.options.command, "dispatcher"],
                    with_metrics_port(environment, self.options.dispatcher_metrics_port),
                ),
            ],
            console=self.console,
            signals=signals,
            guardian=guardian,
            on_ready=self._report_started,
            grace_s=longest_grace_s(environment) + EXIT_S,
        )

    def _api(self, environment: Mapping[str, str]) -> Child:
        url = f"{self._base_url()}/readyz"
        return Child("api", [*self.options.command, "api"], environment, is_ready=lambda: responds_ok(url))

    def _base_url(self) -> str:
        """Returns the URL at which this machine reaches the API."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.options.host, self.options.host)  # noqa: S104
        return f"http://[{host}]:{self.options.port}" if ":" in host else f"http://{host}:{self.options.port}"

    def _report_started(self, name: str, seconds: float) -> None:
        self.console.say(f"  {name:<20} ready in {seconds:.1f} s")

    def _report_ready(self, seconds: float) -> None:
        url = f"http://localhost:{self.options.port}"
        self.console.say(
            f"ready in {seconds:.1f} s: open {url}\n"
            f"  try    curl -F file=@photo.jpg -H 'Prefer: wait=30' {url}/v1/jobs\n"
            f"  note   {self._networks_note()}\n"
            f"  note   {self._access_note()}\n"
            f"  note   Prometheus metrics: {url}/metrics{self._metrics_ports()}\n"
            f"  stop   Ctrl-C stops all processes; queued jobs resume at the next start"
        )

    def _networks_note(self) -> str:
        if "ENRICH_FETCH__ALLOW_NETWORKS" in self.environment:
            return "images may be fetched from the private networks in ENRICH_FETCH__ALLOW_NETWORKS"
        return "images may be fetched from this machine (127.0.0.0/8 and ::1), but not from other private networks"

    def _access_note(self) -> str:
        if not requires_key(self.environment):
            return "no API key is required; only requests from this machine are accepted"
        create = f"enrich keys --data-dir {self.options.data_dir} create --owner local --name me"
        return f"an API key is required (-H 'Authorization: Bearer KEY'); create one with: {create}"

    def _metrics_ports(self) -> str:
        if self.options.metrics_port is None:
            return ""
        return (
            f", and ports {self.options.metrics_port} to {self.options.dispatcher_metrics_port} for the other processes"
        )


def database_settings(environment: Mapping[str, str]) -> Settings:
    """Returns settings with the Postgres URLs of `environment`."""
    direct = environment.get("ENRICH_DATABASE__DIRECT_URL")
    return Settings(
        database=DatabaseSettings(
            url=SecretStr(environment[DATABASE_URL]), direct_url=SecretStr(direct) if direct else None
        )
    )


def responds_ok(url: str) -> bool:
    """Whether a GET request to `url` returns status 200."""
    try:
        with urllib3.PoolManager(retries=False, timeout=2.0) as pool:
            return pool.request("GET", url).status == HTTPStatus.OK
    except urllib3.exceptions.HTTPError:
        return False

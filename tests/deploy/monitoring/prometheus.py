"""A real Prometheus that scrapes a real `enrich up`, for as long as a block lasts."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import urllib3
import yaml

from cli.local.server import is_port_free
from tests.ports import free_port
from tests.processes import ROOT, stop, wait_until

START_TIMEOUT_S = 60
MONITORING = ROOT / "deploy" / "monitoring"
LOCAL_CONFIG = MONITORING / "prometheus-local.yml"
# Ports as the shipped configuration has them.
API_PORT, METRICS_PORT, METRICS_PORTS = 8000, 9100, 3


class Client:
    """Asks an HTTP API that answers with JSON; AssertionError for any status but those expected."""

    def __init__(self, base: str) -> None:
        self.base = base
        self._http = urllib3.PoolManager()

    def get(self, path: str, **fields: str) -> Any:
        return self._json(self._http.request("GET", f"{self.base}{path}", fields=fields, timeout=60))

    def post(self, path: str, body: dict[str, Any], **headers: str) -> Any:
        return self._json(self._http.request("POST", f"{self.base}{path}", json=body, headers=headers, timeout=60))

    def upload(self, picture: bytes, **fields: str) -> Any:
        form = {"file": ("picture.jpg", picture), **fields}
        return self._json(self._http.request("POST", f"{self.base}/v1/jobs", fields=form, timeout=60))

    def close(self) -> None:
        self._http.clear()

    @staticmethod
    def _json(response: urllib3.BaseHTTPResponse) -> Any:
        assert response.status in (200, 201, 202), response.data
        return response.json()


class Prometheus(Client):
    """What a running Prometheus answers."""

    def query(self, expr: str) -> list[float]:
        """The values that the query has now; NaN is no value."""
        result = self.get("/api/v1/query", query=expr)["data"]["result"]
        values = [float(each["value"][1]) for each in result]
        return [value for value in values if not math.isnan(value)]

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self.get("/api/v1/rules")["data"]["groups"] for rule in group["rules"]]


@contextlib.contextmanager
def service_up(folder: Path, bundle: Path, api_port: int, metrics_port: int) -> Iterator[Client]:
    """`enrich up --metrics-port …` until the block ends."""
    own = {"ENRICH_WORKER__BUNDLE": str(bundle), "ENRICH_FETCH__PORTS": "[]"}
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("ENRICH_")}
    ports = ["--port", str(api_port), "--metrics-port", str(metrics_port)]
    command = [sys.executable, "-m", "cli.main", "up", "--data-dir", str(folder / "data"), *ports]
    output = folder / "up.log"
    with output.open("wb") as log:
        process = subprocess.Popen(command, env=inherited | own, stdout=log, stderr=log)
    try:
        wait_until(
            lambda: b"\n  stop " in output.read_bytes() or process.poll() is not None, START_TIMEOUT_S, "enrich up"
        )
        assert process.poll() is None, output.read_text()
        with contextlib.closing(Client(f"http://127.0.0.1:{api_port}")) as client:
            yield client
    finally:
        stop(process)


@contextlib.contextmanager
def prometheus_up(program: str, folder: Path, api_port: int, metrics_port: int) -> Iterator[Prometheus]:
    """Prometheus with the shipped configuration for `enrich up`: only its ports and its pace are others."""
    config, port = folder / "prometheus.yml", free_port()
    config.write_text(_with_ports(yaml.safe_load(LOCAL_CONFIG.read_text()), api_port, metrics_port))
    data, address = folder / "prometheus", f"127.0.0.1:{port}"
    command = [program, f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address={address}"]
    output = folder / "prometheus.log"
    with output.open("wb") as log:
        process = subprocess.Popen([*command, "--log.level=warn"], stdout=log, stderr=log)
    try:
        wait_until(lambda: not is_port_free(port) or process.poll() is not None, START_TIMEOUT_S, "Prometheus")
        assert process.poll() is None, output.read_text()
        with contextlib.closing(Prometheus(f"http://{address}")) as client:
            yield client
        assert output.read_text() == "", "Prometheus warned"
    finally:
        stop(process)


def _with_ports(config: dict[str, Any], api_port: int, metrics_port: int) -> str:
    ports = {METRICS_PORT + number: metrics_port + number for number in range(METRICS_PORTS)} | {API_PORT: api_port}
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(MONITORING / name) for name in config["rule_files"]]
    text = json.dumps(config)
    for shipped, own in ports.items():
        assert f":{shipped}" in text
        text = text.replace(f"127.0.0.1:{shipped}", f"127.0.0.1:{own}")
    return text

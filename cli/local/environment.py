"""Environment variables of the child processes of `enrich up`: defaults for one machine, and the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter

from core.settings import WebhookSettings, WorkerSettings
from worker.process.memory import allocator_environment

DATABASE_URL = "ENRICH_DATABASE__URL"
QUEUE_URL = "ENRICH_QUEUE__URL"
REQUIRE_KEY = "ENRICH_API__REQUIRE_KEY"
HEARTBEAT_FILE = "ENRICH_WORKER__HEARTBEAT_FILE"
METRICS_PORT = "ENRICH_METRICS__PORT"
WORKER_GRACE = "ENRICH_WORKER__GRACE_S"
WEBHOOKS_GRACE = "ENRICH_WEBHOOKS__GRACE_S"
# Images may be fetched from this machine, but not from the private network around it.
LOOPBACK_NETWORKS = '["127.0.0.0/8","::1/128"]'


def child_environment(
    own: Mapping[str, str], *, data_dir: Path, database_url: str, queue_url: str, host: str, port: int
) -> dict[str, str]:
    """Returns the environment of all children. The user's variables (`own`) override all defaults but the addresses."""
    defaults = {
        "ENRICH_STORAGE__FOLDER": str(data_dir / "uploads"),
        "ENRICH_FETCH__ALLOW_NETWORKS": LOOPBACK_NETWORKS,
        "ENRICH_FETCH__ALLOW_S3": '["*"]',
        # The API then accepts requests from this machine only, see api/middleware/local_only.py.
        REQUIRE_KEY: "false",
        "ENRICH_LOG_FORMAT": "text",
        # Python buffers output to a pipe by default, which would delay log lines.
        "PYTHONUNBUFFERED": "1",
    }
    fixed = {
        DATABASE_URL: database_url,
        QUEUE_URL: queue_url,
        "ENRICH_API__HOST": host,
        "ENRICH_API__PORT": str(port),
    }
    return {**defaults, **own, **fixed}


def requires_key(own: Mapping[str, str]) -> bool:
    """Whether the API of `enrich up` requires API keys."""
    return TypeAdapter(bool).validate_python(own.get(REQUIRE_KEY, "false"))


def longest_grace_s(own: Mapping[str, str]) -> float:
    """Returns the longest shutdown time that the settings grant to any child of `enrich up`."""
    graces = {WORKER_GRACE: WorkerSettings().grace_s, WEBHOOKS_GRACE: WebhookSettings().grace_s}
    return max(TypeAdapter(float).validate_python(own.get(name, grace_s)) for name, grace_s in graces.items())


def lane_environment(
    environment: Mapping[str, str], heartbeat_file: Path, metrics_port: int | None = None
) -> dict[str, str]:
    """Returns the environment of one lane's worker, with its own heartbeat file, metrics port and malloc's setting."""
    return {**allocator_environment(with_metrics_port(environment, metrics_port)), HEARTBEAT_FILE: str(heartbeat_file)}


def with_metrics_port(environment: Mapping[str, str], port: int | None) -> dict[str, str]:
    """Replaces the metrics port in an environment. None disables metrics, even if a port was set."""
    rest = {name: value for name, value in environment.items() if name != METRICS_PORT}
    return rest if port is None else {**rest, METRICS_PORT: str(port)}

"""Which variables the children of `enrich up` get: the defaults of one machine under the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter

from core.settings import WebhookSettings, WorkerSettings

DATABASE_URL = "ENRICH_DATABASE__URL"
QUEUE_URL = "ENRICH_QUEUE__URL"
REQUIRE_KEY = "ENRICH_API__REQUIRE_KEY"
HEARTBEAT_FILE = "ENRICH_WORKER__HEARTBEAT_FILE"
METRICS_PORT = "ENRICH_METRICS__PORT"
WORKER_GRACE = "ENRICH_WORKER__GRACE_S"
WEBHOOKS_GRACE = "ENRICH_WEBHOOKS__GRACE_S"
# Pictures on this machine and no other: the office's routers and databases stay closed.
LOOPBACK_NETWORKS = '["127.0.0.0/8","::1/128"]'


def child_environment(
    own: Mapping[str, str], *, data_dir: Path, database_url: str, queue_url: str, host: str, port: int
) -> dict[str, str]:
    """The environment of all children. What the user set in `own` wins, but for the addresses, which are facts."""
    defaults = {
        "ENRICH_STORAGE__FOLDER": str(data_dir / "uploads"),
        "ENRICH_FETCH__ALLOW_NETWORKS": LOOPBACK_NETWORKS,
        "ENRICH_FETCH__ALLOW_S3": '["*"]',
        # Only requests of this machine are taken then, see api/middleware/local_only.py.
        REQUIRE_KEY: "false",
        "ENRICH_LOG_FORMAT": "text",
        # Lines appear when they are written, although they go through a pipe.
        "PYTHONUNBUFFERED": "1",
    }
    facts = {
        DATABASE_URL: database_url,
        QUEUE_URL: queue_url,
        "ENRICH_API__HOST": host,
        "ENRICH_API__PORT": str(port),
    }
    return {**defaults, **own, **facts}


def requires_key(own: Mapping[str, str]) -> bool:
    """Whether the API of `enrich up` will ask for keys."""
    return TypeAdapter(bool).validate_python(own.get(REQUIRE_KEY, "false"))


def longest_grace_s(own: Mapping[str, str]) -> float:
    """How long a child of `enrich up` may take by its own settings to end after SIGTERM."""
    graces = {WORKER_GRACE: WorkerSettings().grace_s, WEBHOOKS_GRACE: WebhookSettings().grace_s}
    return max(TypeAdapter(float).validate_python(own.get(name, grace_s)) for name, grace_s in graces.items())


def lane_environment(
    environment: Mapping[str, str], heartbeat_file: Path, metrics_port: int | None = None
) -> dict[str, str]:
    """The same, with the heartbeat file of one lane's process, and its own port for metrics."""
    return {**with_metrics_port(environment, metrics_port), HEARTBEAT_FILE: str(heartbeat_file)}


def with_metrics_port(environment: Mapping[str, str], port: int | None) -> dict[str, str]:
    """The same, but that metrics are served at `port`; None: not at all, whatever was set for all processes."""
    others = {name: value for name, value in environment.items() if name != METRICS_PORT}
    return others if port is None else {**others, METRICS_PORT: str(port)}

"""All settings of all processes: one frozen tree, read from `ENRICH_…` variables (`__` for nesting).

Units are in the names; secrets are `SecretStr`. README has the same table, and a test fails when a row is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024 * 1024

Seconds = Annotated[float, Field(gt=0)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DatabaseSettings(_Group):
    """Postgres, the record."""

    url: SecretStr = Field(SecretStr("postgresql://localhost:5432/enrich"), description="address of Postgres")
    direct_url: SecretStr | None = Field(
        None, description="address that bypasses a pooler, for LISTEN and migrations; the same as `url` if unset"
    )
    pool_size: int = Field(4, ge=1, le=64, description="connections per process")
    connect_timeout_s: int = Field(5, ge=1, description="how long to wait for a connection")
    answer_timeout_s: Seconds = Field(
        10, description="how long worker and dispatcher wait for the answer to a statement; then they try again"
    )


class QueueSettings(_Group):
    """Redis, the queue."""

    url: SecretStr = Field(SecretStr("redis://localhost:6379/0"), description="address of Redis or Valkey")
    visibility_timeout_s: int = Field(
        600, ge=1, description="when Redis hands out an unacked message again; at least twice the chunk deadline"
    )
    chunk_size: int = Field(64, ge=1, le=1000, description="jobs per message in the bulk lane")


class StorageSettings(_Group):
    """Where uploads are kept: a folder, or a bucket of an S3 service."""

    kind: Literal["folder", "s3"] = Field("folder", description="`folder` or `s3`")
    folder: Path = Field(Path("data/uploads"), description="where uploads are kept when kind is `folder`")
    bucket: str = Field("enrich", description="bucket of the uploads when kind is `s3`")
    prefix: str = Field("uploads/", description="prefix of the uploads' keys in the bucket")


class S3Settings(_Group):
    """The S3 service; unset values come from the usual AWS variables and files."""

    endpoint_url: str | None = Field(None, description="address of an S3-compatible service; AWS if unset")
    region: str = Field("us-east-1", description="region")
    access_key_id: SecretStr | None = Field(None, description="access key; boto3's own chain if unset")
    secret_access_key: SecretStr | None = Field(None, description="secret key")
    connect_timeout_s: Seconds = Field(5, description="limit for one connection")
    read_timeout_s: Seconds = Field(20, description="limit for one silent wait on the socket")
    max_attempts: int = Field(3, ge=1, description="tries of one call in all; beyond them the job is retried")
    max_connections: int = Field(32, ge=1, description="connections kept open per process")


class FetchSettings(_Group):
    """What may be fetched, and within which limits."""

    schemes: tuple[str, ...] = Field(("https", "http", "s3"), description="schemes a caller may use")
    ports: tuple[int, ...] = Field((80, 443, 8080, 8443), description="ports that may be asked; empty = any")
    allow_networks: tuple[str, ...] = Field(
        (),
        description="networks that may be asked although they are not global, by fetches and webhooks and at any port, "
        'such as `["10.1.0.0/16"]`',
    )
    allow_s3: tuple[str, ...] = Field(
        (), description='buckets or prefixes callers may name, such as `["shop-photos/2026/"]`; `["*"]` = any'
    )
    connect_timeout_s: Seconds = Field(5, description="limit for one connection")
    read_timeout_s: Seconds = Field(10, description="limit for one silent wait on the socket")
    total_timeout_s: Seconds = Field(30, description="limit for the whole fetch, redirects included")
    max_redirects: int = Field(5, ge=0, description="redirects that are followed, each checked again")
    max_bytes: int = Field(32 * MIB, ge=1, description="largest image file")
    max_idle_connections: int = Field(64, ge=0, description="connections kept open for the next fetch")
    user_agent: str = Field("asset-enrichment/0.1", description="User-Agent header of our requests")


class DecodeSettings(_Group):
    """Limits that hold before a picture is decoded."""

    max_pixels: int = Field(80_000_000, ge=1, description="largest picture, width × height")
    max_side: int = Field(20_000, ge=1, description="longest side in pixels")


class JobSettings(_Group):
    """The life of a job."""

    lease_s: Seconds = Field(15, description="a worker that stays silent this long has lost its jobs")
    renew_every_s: Seconds = Field(5, description="how often a worker renews its leases")
    chunk_deadline_s: Seconds = Field(300, description="limit for one message, however many jobs it holds")
    max_retries: int = Field(4, ge=0, description="tries after the first when an error is retryable")
    retry_base_s: Seconds = Field(2, description="wait before the first retry; doubles each time, with jitter")
    retry_max_s: Seconds = Field(300, description="longest wait before a retry")
    alone_after_crashes: int = Field(
        1, ge=1, description="a job whose worker died this often runs alone in a child process from then on"
    )
    max_crashes: int = Field(3, ge=2, description="a job whose worker or child process died this often is `poison`")


class WorkerSettings(_Group):
    """The process that holds the model."""

    bundle: Path | None = Field(None, description="folder of the model bundle; the shipped one if unset")
    device: str = Field("auto", description="`auto`, `cpu` or `cuda`")
    max_batch_size: int = Field(16, ge=1, le=1024, description="pictures in one model call")
    max_wait_ms: float = Field(5, ge=0, description="how long a picture waits for company in its batch")
    threads: int = Field(32, ge=1, description="jobs in progress at once; about twice the batch size")
    batch_deadline_s: Seconds = Field(60, description="limit for one model call")
    decode_deadline_s: Seconds = Field(
        60, description="limit for decoding one picture; a worker that is over it ends, and is to be started anew"
    )
    caption_budget_ms: float = Field(
        300, ge=0, description="limit for writing one batch's names, beyond it they are structured text; 0 = always"
    )
    grace_s: Seconds = Field(
        20, description="limit from SIGTERM to the exit; at half of it, jobs that still run are given back"
    )
    max_rss_mib: int | None = Field(
        None, ge=1, description="a worker with more resident memory than this ends in order, to be started anew"
    )
    heartbeat_file: Path | None = Field(None, description="touched while the worker is well; for probes")


class DispatcherSettings(_Group):
    """The process that sweeps, and sends webhooks."""

    sweep_every_s: Seconds = Field(2, description="pause between two sweeps")
    lost_after_s: Seconds = Field(
        10, description="a queued job is published again when the queue lost it this long ago"
    )
    sweep_limit: int = Field(1000, ge=1, description="most rows that one sweep publishes")
    heartbeat_file: Path | None = Field(None, description="touched while the dispatcher's loops are well; for probes")


class WebhookSettings(_Group):
    """How events are told to endpoints."""

    timeout_s: Seconds = Field(15, description="limit for one attempt, from the look-up of the host to the answer")
    schedule_s: tuple[float, ...] = Field(
        (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400),
        min_length=1,
        description="waits before each attempt, from the one before it; after the last the delivery has failed",
    )
    jitter: float = Field(0.1, ge=0, lt=1, description="how much a wait may differ from the schedule, as a share")
    probe_every_s: Seconds = Field(1800, description="a failing endpoint is tried at least this often")
    rest_after_failures: int = Field(
        5, ge=1, description="failures in a row after which an endpoint is asked by one attempt at a time, with rests"
    )
    rest_base_s: Seconds = Field(5, description="first such rest; doubles each time, up to the time between probes")
    max_retry_after_s: Seconds = Field(86_400, description="longest `Retry-After` that is honoured")
    disable_after_s: Seconds = Field(432_000, description="an endpoint that only fails for so long is disabled")
    rotation_overlap_s: Seconds = Field(86_400, description="how long a replaced secret stays valid")
    max_concurrency: int = Field(8, ge=1, description="attempts at one endpoint at a time, per dispatcher")
    max_rate_per_s: int = Field(100, ge=1, description="attempts per second at one endpoint, per dispatcher")
    threads: int = Field(64, ge=2, description="attempts at a time in all, per dispatcher")
    max_endpoints: int = Field(50, ge=1, description="endpoints of one owner")
    keep_days: float = Field(30, gt=0, description="events, deliveries and attempts are deleted after so many days")
    grace_s: Seconds = Field(20, description="limit from SIGTERM to the dispatcher's exit")


class ApiSettings(_Group):
    """The HTTP side."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on")
    threads: int = Field(16, ge=2, description="requests served at once")
    max_wait_s: int = Field(60, ge=0, description="longest `wait=N`")
    max_request_bytes: int = Field(33 * MIB, ge=1, description="largest request body")
    read_timeout_s: Seconds = Field(120, description="limit for receiving one request; its headers have 10 s at most")
    record_timeout_s: Seconds = Field(
        5, description="how long a request waits for Postgres, at most thrice: a free connection, a new one, an answer"
    )
    page_size: int = Field(100, ge=1, le=1000, description="most jobs in one page of a list")
    require_key: bool = Field(
        True, description="false: no key is asked for, and only requests of this machine are taken; `enrich up` sets it"
    )
    rate_per_s: float = Field(100, gt=0, description="requests per second that a key may make in the long run")
    rate_burst: int = Field(200, ge=1, description="requests that a key may make at once after a pause")
    max_queued_jobs: int = Field(100_000, ge=1, description="jobs of one owner that may wait at a time")


class MetricsSettings(_Group):
    """Where worker and dispatcher can be scraped; the API answers at its own port."""

    host: str = Field("127.0.0.1", description="address on which worker and dispatcher serve `/metrics`")
    port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="port for it; no metrics of theirs if unset; `enrich worker` gives its bulk lane the next one",
    )


class TracingSettings(_Group):
    """Traces by OpenTelemetry; `pip install 'asset-enrichment[tracing]'`."""

    endpoint: str | None = Field(
        None, description="where traces go by OTLP over HTTP, such as `http://collector:4318/v1/traces`; none if unset"
    )
    sample_ratio: float = Field(1, ge=0, le=1, description="share of the traces that are kept; a caller's own decides")


class Settings(BaseSettings):
    """The whole tree. Made once at the front door and handed down; nothing reads the environment by itself."""

    model_config = SettingsConfigDict(env_prefix="ENRICH_", env_nested_delimiter="__", frozen=True, extra="ignore")

    database: DatabaseSettings = DatabaseSettings()
    queue: QueueSettings = QueueSettings()
    storage: StorageSettings = StorageSettings()
    s3: S3Settings = S3Settings()
    fetch: FetchSettings = FetchSettings()
    decode: DecodeSettings = DecodeSettings()
    jobs: JobSettings = JobSettings()
    worker: WorkerSettings = WorkerSettings()
    dispatcher: DispatcherSettings = DispatcherSettings()
    webhooks: WebhookSettings = WebhookSettings()
    api: ApiSettings = ApiSettings()
    metrics: MetricsSettings = MetricsSettings()
    tracing: TracingSettings = TracingSettings()
    log_format: Literal["json", "text"] = Field("json", description="`json` for machines, `text` for people")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        # A redelivered twin shares the delivery tag of the original, and its ack would remove the original's entry:
        # redelivery by timeout must never happen while a chunk may still be running.
        if self.queue.visibility_timeout_s < 2 * self.jobs.chunk_deadline_s:
            raise ValueError(
                "ENRICH_QUEUE__VISIBILITY_TIMEOUT_S must be at least twice ENRICH_JOBS__CHUNK_DEADLINE_S "
                f"({self.queue.visibility_timeout_s} < 2 × {self.jobs.chunk_deadline_s:g})"
            )
        if self.jobs.max_crashes <= self.jobs.alone_after_crashes:
            # Else a job would be blamed for a death that may have been its neighbour's.
            raise ValueError("ENRICH_JOBS__MAX_CRASHES must be greater than ENRICH_JOBS__ALONE_AFTER_CRASHES")
        if self.jobs.lease_s < 2 * self.jobs.renew_every_s:
            raise ValueError("ENRICH_JOBS__LEASE_S must be at least twice ENRICH_JOBS__RENEW_EVERY_S")
        return self

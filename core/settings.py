"""The settings of every process: one frozen tree, read from `ENRICH_…` variables (`__` for nesting).

Names carry their unit, and secrets are `SecretStr`. The descriptions are the reference of the documentation; a test
fails if one is missing.
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
    """The connection to Postgres."""

    url: SecretStr = Field(SecretStr("postgresql://localhost:5432/enrich"), description="URL of the Postgres database")
    direct_url: SecretStr | None = Field(
        None, description="URL that bypasses a connection pooler, for LISTEN and migrations; defaults to `url`"
    )
    pool_size: int = Field(4, ge=1, le=64, description="maximum number of connections per process")
    connect_timeout_s: int = Field(5, ge=1, description="timeout for opening a connection, in seconds")
    answer_timeout_s: Seconds = Field(
        10, description="timeout for one statement of a worker or dispatcher, in seconds; it is retried afterwards"
    )


class QueueSettings(_Group):
    """The queue in Redis."""

    url: SecretStr = Field(SecretStr("redis://localhost:6379/0"), description="URL of Redis or Valkey")
    visibility_timeout_s: int = Field(
        600,
        ge=1,
        description="seconds after which an unacknowledged message is redelivered; at least twice the chunk deadline",
    )
    chunk_size: int = Field(64, ge=1, le=1000, description="number of jobs per message in the bulk lane")


class StorageSettings(_Group):
    """The store for uploads: a folder, or a bucket of an S3 service."""

    kind: Literal["folder", "s3"] = Field("folder", description="where uploads are stored: `folder` or `s3`")
    folder: Path = Field(Path("data/uploads"), description="folder for uploads if `kind` is `folder`")
    bucket: str = Field("enrich", description="bucket for uploads if `kind` is `s3`")
    prefix: str = Field("uploads/", description="key prefix of uploads in the bucket")


class S3Settings(_Group):
    """The S3 service. Credentials that are unset come from boto3's credential chain."""

    endpoint_url: str | None = Field(None, description="URL of an S3-compatible service; defaults to AWS")
    region: str = Field("us-east-1", description="S3 region")
    access_key_id: SecretStr | None = Field(
        None, description="S3 access key id; defaults to the credential chain of boto3"
    )
    secret_access_key: SecretStr | None = Field(
        None, description="S3 secret access key; defaults to the credential chain of boto3"
    )
    connect_timeout_s: Seconds = Field(5, description="timeout for opening a connection, in seconds")
    read_timeout_s: Seconds = Field(20, description="timeout for each read from the socket, in seconds")
    max_attempts: int = Field(
        3, ge=1, description="maximum number of attempts per call, the first included; afterwards the job is retried"
    )
    max_connections: int = Field(32, ge=1, description="maximum number of open connections per process")


class FetchSettings(_Group):
    """Rules and limits for fetching images."""

    schemes: tuple[str, ...] = Field(("https", "http", "s3"), description="URL schemes that callers may use")
    ports: tuple[int, ...] = Field(
        (80, 443, 8080, 8443), description="ports that may be requested; an empty list allows all ports"
    )
    allow_networks: tuple[str, ...] = Field(
        (),
        description="private networks that fetches and webhooks may reach, at any port, "
        'such as `["10.1.0.0/16"]`; none by default',
    )
    allow_s3: tuple[str, ...] = Field(
        (),
        description='buckets or key prefixes that callers may use, such as `["shop-photos/2026/"]`; '
        '`["*"]` allows all, and none is allowed by default',
    )
    connect_timeout_s: Seconds = Field(5, description="timeout for opening a connection, in seconds")
    read_timeout_s: Seconds = Field(10, description="timeout for each read from the socket, in seconds")
    total_timeout_s: Seconds = Field(30, description="timeout for the whole fetch with its redirects, in seconds")
    max_redirects: int = Field(5, ge=0, description="maximum number of redirects to follow; each target is checked")
    max_bytes: int = Field(32 * MIB, ge=1, description="maximum size of an image file, in bytes")
    max_idle_connections: int = Field(
        64, ge=0, description="maximum number of idle connections kept open for later fetches"
    )
    user_agent: str = Field(
        "asset-enrichment/0.1",
        description="User-Agent header of fetches and webhooks; some hosts answer unknown ones with 403",
    )


class DecodeSettings(_Group):
    """Limits on the work and memory of decoding, checked before an image is decoded."""

    max_pixels: int = Field(80_000_000, ge=1, description="maximum width × height of an image, in pixels")
    max_side: int = Field(20_000, ge=1, description="maximum length of the longer side, in pixels")
    max_scans: int = Field(128, ge=1, description="maximum number of scans of a JPEG")
    max_scanned_megapixels: float = Field(
        2000, gt=0, description="maximum megapixels times scans of a JPEG; a scan of one megapixel takes about 0.5 ms"
    )
    ordinary_megapixels: float = Field(
        16,
        ge=0,
        description="megapixels up to which JPEG, PNG and WebP are decoded in the worker process; larger images and "
        "all other formats are decoded in child processes, which are killed if they hang",
    )
    max_megapixels_in_flight: float = Field(
        100,
        gt=0,
        description="maximum megapixels decoded at a time in child processes; a larger image is decoded alone",
    )


class JobSettings(_Group):
    """Leases, retries and crash limits of jobs."""

    lease_s: Seconds = Field(
        15, description="seconds after which a worker that does not renew its lease loses its jobs"
    )
    renew_every_s: Seconds = Field(5, description="interval at which a worker renews its leases, in seconds")
    chunk_deadline_s: Seconds = Field(300, description="time limit for all jobs of one message, in seconds")
    max_retries: int = Field(4, ge=0, description="maximum number of retries after a retryable error")
    retry_base_s: Seconds = Field(
        2, description="delay before the first retry, in seconds; it doubles with each retry, with jitter"
    )
    retry_max_s: Seconds = Field(
        300, description="maximum delay before a retry, in seconds, also where the image's host asks for a longer one"
    )
    patience_s: float = Field(
        3600,
        ge=0,
        description="seconds after a job's creation during which an answer with `Retry-After` up to `retry_max_s` does "
        "not count as a retry",
    )
    alone_after_crashes: int = Field(
        1, ge=1, description="number of crashes after which a job runs alone in a child process"
    )
    max_crashes: int = Field(
        3, ge=2, description="number of crashes of its worker or child process after which a job fails as `poison`"
    )


class WorkerSettings(_Group):
    """The worker process."""

    bundle: Path | None = Field(None, description="folder of the model bundle; defaults to the shipped bundle")
    device: str = Field("auto", description="device of the model: `auto`, `cpu` or `cuda`")
    max_batch_size: int = Field(16, ge=1, le=1024, description="maximum number of images per model call")
    max_wait_ms: float = Field(5, ge=0, description="maximum batching delay, in milliseconds")
    threads: int = Field(32, ge=1, description="maximum number of jobs in progress; about twice the batch size is best")
    batch_deadline_s: Seconds = Field(60, description="time limit for one model call, in seconds")
    decode_deadline_s: Seconds = Field(
        60,
        description="time limit for decoding one image, in seconds; beyond it a child process is killed and its job "
        "fails, and a worker that decodes in its own process exits",
    )
    caption_budget_ms: float = Field(
        300,
        ge=0,
        description="time limit for writing the names of one batch, in milliseconds; beyond it, and always if 0, "
        "names are structured text",
    )
    grace_s: Seconds = Field(
        20, description="time limit for shutdown, in seconds; jobs still running at half of it are released"
    )
    max_rss_mib: int | None = Field(
        None, ge=1, description="resident memory above which a worker shuts down, in MiB; no limit by default"
    )
    heartbeat_file: Path | None = Field(
        None, description="file that a healthy worker touches, for health probes; unset disables it"
    )


class DispatcherSettings(_Group):
    """The dispatcher process, which recovers lost jobs and sends webhooks."""

    sweep_every_s: Seconds = Field(2, description="pause between two sweeps, in seconds")
    lost_after_s: Seconds = Field(
        10, description="seconds after which a job whose message the queue lost is published again"
    )
    sweep_limit: int = Field(1000, ge=1, description="maximum number of jobs that one sweep publishes per lane")
    heartbeat_file: Path | None = Field(
        None, description="file that a healthy dispatcher touches, for health probes; unset disables it"
    )


class WebhookSettings(_Group):
    """The delivery of webhooks."""

    timeout_s: Seconds = Field(
        15, description="timeout for one delivery attempt, in seconds, from DNS resolution to the response"
    )
    schedule_s: tuple[float, ...] = Field(
        (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400),
        min_length=1,
        description="delay before each delivery attempt, in seconds; the delivery fails after the last one",
    )
    jitter: float = Field(0.1, ge=0, lt=1, description="random deviation from the schedule, as a fraction of the delay")
    probe_every_s: Seconds = Field(1800, description="maximum time between attempts at a failing endpoint, in seconds")
    rest_after_failures: int = Field(
        5,
        ge=1,
        description="number of consecutive failures after which an endpoint gets one attempt at a time, with pauses",
    )
    rest_base_s: Seconds = Field(
        5, description="first of these pauses, in seconds; it doubles with each failure, up to `probe_every_s`"
    )
    max_retry_after_s: Seconds = Field(86_400, description="maximum `Retry-After` that is honoured, in seconds")
    disable_after_s: Seconds = Field(
        432_000, description="seconds without a success after which a failing endpoint is disabled"
    )
    rotation_overlap_s: Seconds = Field(86_400, description="seconds for which a replaced secret stays valid")
    max_concurrency: int = Field(
        8, ge=1, description="maximum number of concurrent attempts per endpoint and dispatcher"
    )
    max_rate_per_s: int = Field(
        100, ge=1, description="maximum number of attempts per second, per endpoint and dispatcher"
    )
    threads: int = Field(64, ge=2, description="maximum number of concurrent attempts per dispatcher")
    max_endpoints: int = Field(50, ge=1, description="maximum number of endpoints per owner")
    keep_days: float = Field(
        30, gt=0, description="number of days after which events, deliveries and attempts are deleted"
    )
    grace_s: Seconds = Field(20, description="time limit for the dispatcher's shutdown, in seconds")


class ApiSettings(_Group):
    """The HTTP API."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 picks a free port")
    threads: int = Field(16, ge=2, description="maximum number of requests served concurrently")
    max_wait_s: int = Field(60, ge=0, description="maximum value of `wait=N`, in seconds")
    max_request_bytes: int = Field(33 * MIB, ge=1, description="maximum size of a request body, in bytes")
    read_timeout_s: Seconds = Field(
        120, description="timeout for receiving one request, in seconds; its headers must arrive within 10 s"
    )
    record_timeout_s: Seconds = Field(
        5,
        description="timeout for Postgres, in seconds; a request may wait up to three times: for a free connection, "
        "for a new connection, and for the result",
    )
    page_size: int = Field(100, ge=1, le=1000, description="maximum number of jobs per page of a list")
    require_key: bool = Field(
        True,
        description="whether requests need an API key; `false`, set by `enrich up`, accepts only requests from this "
        "machine",
    )
    rate_per_s: float = Field(100, gt=0, description="sustained number of requests per second allowed per key")
    rate_burst: int = Field(200, ge=1, description="maximum burst of requests allowed per key")
    max_queued_jobs: int = Field(100_000, ge=1, description="maximum number of queued jobs per owner")


class MetricsSettings(_Group):
    """The metrics server of worker and dispatcher; the API serves `/metrics` at its own port."""

    host: str = Field("127.0.0.1", description="address on which worker and dispatcher serve `/metrics`")
    port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="port on which worker and dispatcher serve `/metrics`; unset disables it, and `enrich worker` uses "
        "the next port for its bulk lane",
    )


class TracingSettings(_Group):
    """OpenTelemetry traces; they need `pip install 'asset-enrichment[tracing]'`."""

    endpoint: str | None = Field(
        None,
        description="OTLP/HTTP endpoint for traces, such as `http://collector:4318/v1/traces`; unset disables tracing",
    )
    sample_ratio: float = Field(
        1, ge=0, le=1, description="fraction of traces to sample, from 0 to 1; the decision of a caller's trace wins"
    )


class Settings(BaseSettings):
    """The root of the tree. Created once per process at startup and passed down; nothing else reads the environment."""

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
    log_format: Literal["json", "text"] = Field("json", description="log format: `json` or `text`")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="minimum log level: `debug`, `info`, `warning` or `error`"
    )

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        # A redelivered message has the same delivery tag as the original, so acknowledging it would remove the entry
        # of the original. Redis must therefore not redeliver a message while its chunk may still be running.
        if self.queue.visibility_timeout_s < 2 * self.jobs.chunk_deadline_s:
            raise ValueError(
                "ENRICH_QUEUE__VISIBILITY_TIMEOUT_S must be at least twice ENRICH_JOBS__CHUNK_DEADLINE_S "
                f"({self.queue.visibility_timeout_s} < 2 × {self.jobs.chunk_deadline_s:g})"
            )
        if self.jobs.max_crashes <= self.jobs.alone_after_crashes:
            # Otherwise a job could fail as poison for a crash that another job in the same worker caused.
            raise ValueError("ENRICH_JOBS__MAX_CRASHES must be greater than ENRICH_JOBS__ALONE_AFTER_CRASHES")
        if self.jobs.lease_s < 2 * self.jobs.renew_every_s:
            raise ValueError("ENRICH_JOBS__LEASE_S must be at least twice ENRICH_JOBS__RENEW_EVERY_S")
        return self

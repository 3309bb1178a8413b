"""Structured logs: events with fields, such as `job_finished job_id=… model_ms=…`, as JSON or as text."""

from __future__ import annotations

import logging
import sys
from contextlib import AbstractContextManager
from typing import cast

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from core.settings import Settings
from core.telemetry.redaction import redact_event

# Libraries that log every request or message at `info`.
NOISY_LOGGERS = (
    "urllib3",
    "botocore",
    "boto3",
    "s3transfer",
    "kombu",
    "amqp",
    "alembic",
    "PIL",
    "celery.app.trace",
    "celery.worker.strategy",
)


def get_logger(name: str) -> FilteringBoundLogger:
    """Returns a logger whose methods take an event name and fields."""
    return cast(FilteringBoundLogger, structlog.get_logger(name))


def log_context(**ids: object) -> AbstractContextManager[None]:
    """Adds the ids to every log line of this thread while the block runs. Skips ids that are None."""
    known = {name: str(value) for name, value in ids.items() if value is not None}
    return structlog.contextvars.bound_contextvars(**known)


def configure_logs(settings: Settings, process: str) -> None:
    """Formats events and the log lines of libraries alike and writes them to stderr. Call once per process."""
    shared: list[Processor] = [
        # Not a context variable, because new threads start with an empty context.
        lambda _, __, event: {"process": process, **event},
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level.upper())),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(settings),
                redact_event,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


def _renderer(settings: Settings) -> Processor:
    if settings.log_format == "json":
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())

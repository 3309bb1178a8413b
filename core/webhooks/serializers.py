"""The JSON forms of endpoints, secrets, deliveries and attempts. URLs are shown without their query strings."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from core.db.serializers import iso
from core.db.webhook_models import (
    DeliveryStatus,
    EventType,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from core.net.urls import redact_url
from core.webhooks.endpoints import Backlog
from core.webhooks.secrets import Secrets


def event_id(row_id: uuid.UUID) -> str:
    """Returns the event's id as sent in `webhook-id`. It is the same in every attempt."""
    return f"evt_{row_id.hex}"


def serialize_endpoint(endpoint: WebhookEndpoint, backlog: Backlog) -> dict[str, Any]:
    """Returns the endpoint as JSON, without its secret."""
    return {
        "id": str(endpoint.id),
        "url": redact_url(endpoint.url),
        "event_types": endpoint.event_types or [str(each) for each in EventType],
        "description": endpoint.description,
        "max_rate_per_s": endpoint.max_rate_per_s,
        "enabled": endpoint.is_enabled,
        "disabled_reason": endpoint.disabled_reason,
        "disabled_at": iso(endpoint.disabled_at),
        "failing_since": iso(endpoint.failing_since),
        "failures": endpoint.failures,
        "waiting": backlog.waiting,
        "oldest_waiting_s": None if backlog.oldest_s is None else round(backlog.oldest_s, 1),
        "created_at": iso(endpoint.created_at),
        "updated_at": iso(endpoint.updated_at),
    }


def serialize_secrets(secrets: Secrets) -> dict[str, Any]:
    """Returns the secrets as JSON."""
    return {
        "secret": secrets.current,
        "previous_secret": secrets.previous,
        "previous_valid_until": iso(secrets.previous_until),
    }


def serialize_delivery(delivery: WebhookDelivery, event: WebhookEvent, endpoint: WebhookEndpoint) -> dict[str, Any]:
    """Returns the delivery as JSON. `endpoint_id` is null for a one-off address, whose endpoint is internal."""
    is_pending = delivery.status == DeliveryStatus.PENDING
    return {
        "id": str(delivery.id),
        "event_id": event_id(event.id),
        "event_type": event.type,
        "job_id": str(event.job_id) if event.job_id else None,
        "endpoint_id": None if endpoint.is_one_off else str(endpoint.id),
        "url": redact_url(delivery.url or endpoint.url),
        "status": delivery.status,
        "tries": delivery.tries,
        "next_attempt_at": iso(_next_attempt(delivery, endpoint)) if is_pending and endpoint.is_enabled else None,
        "created_at": iso(delivery.created_at),
        "finished_at": iso(delivery.finished_at),
    }


def _next_attempt(delivery: WebhookDelivery, endpoint: WebhookEndpoint) -> dt.datetime:
    return max(delivery.next_attempt_at, endpoint.rest_until or delivery.next_attempt_at)


def serialize_attempt(attempt: WebhookAttempt, delivery: WebhookDelivery, event: WebhookEvent) -> dict[str, Any]:
    """Returns the attempt as JSON. `error` is set if there was no response; `answer` is an excerpt of its body."""
    return {
        "id": attempt.id,
        "delivery_id": str(delivery.id),
        "event_id": event_id(event.id),
        "event_type": event.type,
        "trigger": attempt.trigger,
        "status_code": attempt.status_code,
        "error": attempt.error,
        "answer": attempt.answer,
        "latency_ms": round(attempt.latency_ms, 1),
        "started_at": iso(attempt.started_at),
    }

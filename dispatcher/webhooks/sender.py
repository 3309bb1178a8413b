"""Makes one delivery attempt: signs the body, sends it by POST, and returns the outcome."""

from __future__ import annotations

import datetime as dt
import time

from core.errors import FetchBlocked, FetchTimeout, JobError
from core.net.http import GuardedClient, Response
from core.settings import Settings, WebhookSettings
from core.webhooks.serializers import event_id
from core.webhooks.signing import signed_headers
from dispatcher.webhooks.delivery_queue import Attempt, ClaimedDelivery

ANSWER_CHARACTERS = 500
"""Length of the response excerpt in the log, enough for an error message."""


def make_client(settings: Settings) -> GuardedClient:
    """Returns the HTTP client for fetches, with `webhooks.timeout_s` as its timeouts."""
    timeout_s = settings.webhooks.timeout_s
    limits = {"connect_timeout_s": timeout_s, "read_timeout_s": timeout_s, "total_timeout_s": timeout_s}
    return GuardedClient(settings.fetch.model_copy(update=limits))


class Sender:
    """Sends webhooks. Thread-safe."""

    def __init__(self, client: GuardedClient, settings: WebhookSettings) -> None:
        self._client = client
        self._settings = settings

    def send(self, delivery: ClaimedDelivery) -> Attempt:
        """Sends one POST without following redirects. Failures of the receiver are returned, not raised."""
        started_at, began = dt.datetime.now(dt.UTC), time.perf_counter()
        response, error = self._post(delivery, started_at)
        latency_ms = (time.perf_counter() - began) * 1000
        if response is None:
            return Attempt(delivery, started_at, latency_ms, error=error)
        return Attempt(
            delivery,
            started_at,
            latency_ms,
            status_code=response.status,
            answer=_excerpt(response.body),
            retry_after_s=None if response.is_success else self._retry_after_s(response),
        )

    def _post(self, delivery: ClaimedDelivery, now: dt.datetime) -> tuple[Response | None, str | None]:
        headers = signed_headers(event_id(delivery.event_id), delivery.body, list(delivery.secrets), now)
        headers["Content-Type"] = "application/json"
        try:
            return self._client.request(
                "POST", delivery.url, body=delivery.body.encode(), headers=headers, excerpt_only=True
            ), None
        except FetchBlocked:
            return None, "address_blocked"
        except FetchTimeout:
            return None, "timeout"
        except JobError:
            return None, "connection_failed"

    def _retry_after_s(self, response: Response) -> float | None:
        wait_s = response.retry_after_s
        return None if wait_s is None else min(wait_s, self._settings.max_retry_after_s)


def _excerpt(body: bytes) -> str:
    """Returns the start of the response body as text that Postgres can store."""
    return body[: 4 * ANSWER_CHARACTERS].decode("utf-8", "replace").replace("\0", "\ufffd")[:ANSWER_CHARACTERS]

"""`enrich webhooks tail`: prints each delivery attempt as one line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from cli.client import Client

POLL_S = 1.0

Attempt = dict[str, Any]


def tail(client: Client, endpoint_id: str | None, *, lines: int, follow: bool = True) -> Iterator[str]:
    """Yields the last `lines` attempts of each endpoint, oldest first, then each new attempt. Raises ApiError."""
    seen: dict[str, int] = {}
    while True:
        found = []
        for endpoint in _endpoints(client, endpoint_id):
            new = _new_attempts(client, endpoint["id"], seen, lines)
            found += [(attempt, endpoint["url"]) for attempt in new]
        for attempt, url in sorted(found, key=lambda each: int(each[0]["id"])):
            yield format_attempt(attempt, url)
        if not follow:
            return
        time.sleep(POLL_S)


def _endpoints(client: Client, endpoint_id: str | None) -> list[dict[str, Any]]:
    if endpoint_id is not None:
        return [client.request("GET", f"/v1/webhook-endpoints/{endpoint_id}")]
    endpoints: list[dict[str, Any]] = client.request("GET", "/v1/webhook-endpoints")["endpoints"]
    return endpoints


def _new_attempts(client: Client, endpoint_id: str, seen: dict[str, int], lines: int) -> list[Attempt]:
    path = f"/v1/webhook-endpoints/{endpoint_id}/attempts"
    if endpoint_id in seen:
        found: list[Attempt] = client.request("GET", f"{path}?after={seen[endpoint_id]}")["attempts"]
    else:
        found = client.request("GET", f"{path}?limit={max(lines, 1)}")["attempts"][::-1]
        seen[endpoint_id] = max((each["id"] for each in found), default=0)
        found = found if lines else []
    seen[endpoint_id] = max([seen[endpoint_id], *(each["id"] for each in found)])
    return found


def format_attempt(attempt: Attempt, url: str) -> str:
    """Formats an attempt as one line: start time, outcome, latency, event, URL, and the response if it failed."""
    outcome = attempt["error"] or str(attempt["status_code"])
    is_success = attempt["status_code"] is not None and 200 <= attempt["status_code"] < 300
    response = "" if is_success or not attempt["answer"] else f"  {' '.join(attempt['answer'].split())[:100]}"
    mark = "✓" if is_success else "✗"
    probe = " (probe)" if attempt["trigger"] == "probe" else ""
    event = f"{attempt['event_type']} {attempt['event_id']}"
    return f"{attempt['started_at']} {mark} {outcome} {attempt['latency_ms']:.0f} ms  {event}{probe} → {url}{response}"

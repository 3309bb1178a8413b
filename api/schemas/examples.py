"""Examples for the API documentation. A test validates each against its schema."""

from __future__ import annotations

from typing import Any

JOB_ID = "0191f3a4-7c1e-7b52-9d0e-3f4a5b6c7d8e"

QUEUED: dict[str, Any] = {
    "id": JOB_ID,
    "status": "queued",
    "external_id": "sku-1",
    "lane": "interactive",
    "created_at": "2026-03-02T10:15:00.000000Z",
    "started_at": None,
    "finished_at": None,
    "asset": {
        "url": "https://shop.example/shirt.jpg",
        "sha256": None,
        "width": None,
        "height": None,
        "format": None,
    },
    "metadata": None,
    "predictions": None,
    "caption_source": None,
    "in_domain": None,
    "model": None,
    "timings": None,
    "error": None,
}

CANCELED = QUEUED | {"status": "canceled", "finished_at": "2026-03-02T10:15:00.200000Z"}

SUCCEEDED = QUEUED | {
    "status": "succeeded",
    "started_at": "2026-03-02T10:15:00.012000Z",
    "finished_at": "2026-03-02T10:15:00.071000Z",
    "asset": {
        "url": "https://shop.example/shirt.jpg",
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "width": 1800,
        "height": 2400,
        "format": "JPEG",
    },
    "metadata": {
        "gender": "Men",
        "baseColour": "Navy Blue",
        "season": None,
        "usage": "Casual",
        "articleType": "Shirts",
        "subCategory": "Topwear",
        "masterCategory": "Apparel",
        "productDisplayName": "Men Navy Blue Checked Shirt",
    },
    "predictions": {
        "baseColour": {
            "value": "Navy Blue",
            "score": 0.88,
            "threshold": 0.62,
            "alternatives": [{"value": "Navy Blue", "score": 0.88}, {"value": "Blue", "score": 0.09}],
        },
        "season": {
            "value": None,
            "score": 0.41,
            "threshold": 0.8,
            "alternatives": [{"value": "Fall", "score": 0.41}, {"value": "Summer", "score": 0.38}],
        },
    },
    "caption_source": "decoder",
    "in_domain": 0.9987,
    "model": {"bundle": "fashion", "version": "1.2.0", "taxonomy": "1"},
    "timings": {
        "queued_ms": 12,
        "fetch_ms": 31,
        "decode_ms": 4,
        "model_ms": 6,
        "caption_ms": 3,
        "batch_size": 16,
    },
}

PAGE: dict[str, Any] = {"jobs": [SUCCEEDED], "next_cursor": None}

TAXONOMY: dict[str, Any] = {
    "version": "1",
    "attributes": {"gender": ["Men", "Women"], "articleType": ["Shirts", "Jeans"]},
    "parents": {
        "articleType": {"Shirts": "Topwear", "Jeans": "Bottomwear"},
        "subCategory": {"Topwear": "Apparel", "Bottomwear": "Apparel"},
    },
}

MODEL: dict[str, Any] = {
    "bundle": "fashion",
    "version": "1.2.0",
    "registered_at": "2026-03-02T09:00:00.000000Z",
    "description": {"input": 128},
    "card": "# The fashion bundle\n",
}

READY: dict[str, Any] = {
    "status": "ready",
    "parts": {"postgres": "ok", "schema": "ok", "storage": "ok", "redis": "ok"},
}

ENDPOINT_ID = "5f3c1c5e-58b3-4a3f-9c2a-0f7c7f0a4b11"
DELIVERY_ID = "c0a8f1de-7d2a-4d8e-8a3b-6a2f4a1f9d20"
EVENT_ID = "evt_2b1c4f5a6d7e48f9a0b1c2d3e4f5a6b7"

ENDPOINT_REQUEST: dict[str, Any] = {"url": "https://shop.example/hooks/enrich", "event_types": ["job.succeeded"]}

ENDPOINT: dict[str, Any] = {
    "id": ENDPOINT_ID,
    "url": "https://shop.example/hooks/enrich",
    "event_types": ["job.succeeded"],
    "description": None,
    "max_rate_per_s": None,
    "enabled": True,
    "disabled_reason": None,
    "disabled_at": None,
    "failing_since": None,
    "failures": 0,
    "waiting": 0,
    "oldest_waiting_s": None,
    "created_at": "2026-03-02T10:00:00.000000Z",
    "updated_at": "2026-03-02T10:00:00.000000Z",
}

SECRET: dict[str, Any] = {
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=",
    "previous_secret": None,
    "previous_valid_until": None,
}

DELIVERY: dict[str, Any] = {
    "id": DELIVERY_ID,
    "event_id": EVENT_ID,
    "event_type": "job.succeeded",
    "job_id": JOB_ID,
    "endpoint_id": ENDPOINT_ID,
    "url": "https://shop.example/hooks/enrich",
    "status": "pending",
    "tries": 1,
    "next_attempt_at": "2026-03-02T10:15:05.400000Z",
    "created_at": "2026-03-02T10:15:00.071000Z",
    "finished_at": None,
}

ATTEMPT: dict[str, Any] = {
    "id": 4711,
    "delivery_id": DELIVERY_ID,
    "event_id": EVENT_ID,
    "event_type": "job.succeeded",
    "trigger": "schedule",
    "status_code": 503,
    "error": None,
    "answer": "be right back",
    "latency_ms": 41.7,
    "started_at": "2026-03-02T10:15:00.080000Z",
}

REPLAY_REQUEST: dict[str, Any] = {"since": "2026-03-01T22:00:00Z", "until": "2026-03-02T06:00:00Z"}

JOB_REQUEST: dict[str, Any] = {"url": "https://shop.example/shirt.jpg", "external_id": "sku-1"}


def problem(code: str, status: int, detail: str) -> dict[str, Any]:
    """Returns a problem document in the format of `api.middleware.problems.problem`."""
    return {
        "type": f"/docs/errors#{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
        "instance": "/v1/jobs",
        "request_id": "3f0c9a1be2d74c5f8a6b7c8d9e0f1a2b",
    }

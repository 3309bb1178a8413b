"""Signatures, held against the standard's own Python library."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from core.db.webhook_models import EventType
from core.webhooks.events import MAX_BODY_BYTES, event_body
from core.webhooks.signing import new_secret, signed_headers

BODY = '{"type":"job.succeeded","data":{"name":"Blå skjorte ✓"}}'


def test_either_of_two_secrets_verifies_and_no_other() -> None:
    old, new = new_secret(), new_secret()
    headers = signed_headers("evt_1", BODY, [new, old])
    for secret in (old, new):
        assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)
    for wrong in (new_secret(), "whsec_AAAA"):
        with pytest.raises(WebhookVerificationError):
            Webhook(wrong).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(BODY + " ", headers)


@pytest.mark.parametrize("hours", [-11, 0, 5.5, 14])
def test_the_zone_of_a_moment_does_not_matter(hours: float) -> None:
    secret = new_secret()
    moment = dt.datetime.now(dt.timezone(dt.timedelta(hours=hours)))
    headers = signed_headers("evt_1", BODY, [secret], moment)
    assert headers["webhook-timestamp"] == str(int(moment.timestamp()))
    Webhook(secret).verify(BODY, headers)


@pytest.mark.parametrize(("off_s", "is_taken"), [(-310, False), (-280, True), (280, True), (310, False)])
def test_verifiers_take_five_minutes_of_difference(off_s: int, is_taken: bool) -> None:
    secret = new_secret()
    headers = signed_headers("evt_1", BODY, [secret], dt.datetime.now(dt.UTC) + dt.timedelta(seconds=off_s))
    if is_taken:
        Webhook(secret).verify(BODY, headers)
        return
    with pytest.raises(WebhookVerificationError, match="timestamp"):
        Webhook(secret).verify(BODY, headers)


def test_a_large_job_is_cut_to_a_link() -> None:
    moment = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
    job = {"id": "0191", "status": "succeeded", "external_id": "sku-1", "predictions": {"x": "é" * MAX_BODY_BYTES}}
    whole = event_body(EventType.JOB_SUCCEEDED, moment, {**job, "predictions": {}})
    assert json.loads(whole) == {
        "type": "job.succeeded",
        "timestamp": "2026-03-02T00:00:00Z",
        "data": {**job, "predictions": {}},
    }
    cut = event_body(EventType.JOB_SUCCEEDED, moment, job)
    assert len(cut.encode()) < 1000
    data = json.loads(cut)["data"]
    assert (data["id"], data["is_cut"], data["href"]) == ("0191", True, "/v1/jobs/0191")

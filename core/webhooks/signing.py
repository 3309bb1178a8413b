"""Secrets and signatures as specified by Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks)."""

from __future__ import annotations

import base64
import datetime as dt
import secrets

from standardwebhooks import Webhook

SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix, not a secret
SECRET_BYTES = 32


def new_secret() -> str:
    """Returns a new secret: `whsec_` and 256 random bits in base64, the format that all verifiers accept."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(
    event_id: str, body: str, valid_secrets: list[str], now: dt.datetime | None = None
) -> dict[str, str]:
    """Returns the three headers of a request. There is one signature per valid secret, so that secrets can rotate.

    now: the time of the attempt, as an aware datetime. Verifiers reject timestamps more than five minutes off.
    """
    # The library ignores the time zone of an aware datetime and treats it as UTC.
    moment = (now or dt.datetime.now(dt.UTC)).astimezone(dt.UTC)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(event_id, moment, body) for secret in valid_secrets),
    }

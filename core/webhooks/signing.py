"""Secrets and signatures after Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks)."""

from __future__ import annotations

import base64
import datetime as dt
import secrets

from standardwebhooks import Webhook

SECRET_PREFIX = "whsec_"  # noqa: S105 - names the kind of secret, is none
SECRET_BYTES = 32


def new_secret() -> str:
    """A fresh secret: `whsec_` and 256 random bits as base64, as every verifier takes it."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(
    event_id: str, body: str, valid_secrets: list[str], now: dt.datetime | None = None
) -> dict[str, str]:
    """The three headers of a request; one signature for each secret, so that receivers may change theirs in peace.

    now: when the attempt is made, any aware moment. Verifiers refuse what is more than five minutes off.
    """
    # The library takes the wall time of an aware datetime for UTC whatever its zone says.
    moment = (now or dt.datetime.now(dt.UTC)).astimezone(dt.UTC)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(event_id, moment, body) for secret in valid_secrets),
    }

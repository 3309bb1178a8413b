"""Cursors for keyset pagination."""

from __future__ import annotations

import base64
import datetime as dt
import json
import uuid

from core.errors import RequestError


class InvalidCursor(RequestError):
    code = "invalid_cursor"


def encode_cursor(created_at: dt.datetime, row_id: uuid.UUID) -> str:
    """Returns the cursor for the page after this row, in a list ordered by (created_at, id)."""
    return base64.urlsafe_b64encode(json.dumps([created_at.isoformat(), str(row_id)]).encode()).decode()


def decode_cursor(cursor: str) -> tuple[dt.datetime, uuid.UUID]:
    """Returns the arguments of `encode_cursor`. Raises InvalidCursor."""
    try:
        created_at, row_id = json.loads(base64.urlsafe_b64decode(cursor))
        return dt.datetime.fromisoformat(created_at), uuid.UUID(row_id)
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidCursor(
            "`cursor` is not valid; use the `next_cursor` of a list, or omit it to start over"
        ) from error

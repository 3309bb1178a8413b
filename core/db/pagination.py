"""Where a page of a list ended, as text that the next request brings back."""

from __future__ import annotations

import base64
import datetime as dt
import json
import uuid

from core.errors import RequestError


class InvalidCursor(RequestError):
    code = "invalid_cursor"


def write_cursor(created_at: dt.datetime, row_id: uuid.UUID) -> str:
    """The cursor behind this row of a list that is ordered by (created_at, id)."""
    return base64.urlsafe_b64encode(json.dumps([created_at.isoformat(), str(row_id)]).encode()).decode()


def read_cursor(cursor: str) -> tuple[dt.datetime, uuid.UUID]:
    """What `write_cursor` was given. Raises InvalidCursor."""
    try:
        created_at, row_id = json.loads(base64.urlsafe_b64decode(cursor))
        return dt.datetime.fromisoformat(created_at), uuid.UUID(row_id)
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidCursor("`cursor` is not one that a list gave; start again without it") from error

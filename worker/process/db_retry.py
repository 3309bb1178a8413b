"""Retries a transaction while Postgres is unavailable."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from core.db.errors import UNAVAILABLE
from core.telemetry.logs import get_logger

T = TypeVar("T")

log = get_logger(__name__)

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0


def retry_while_unavailable(transaction: Callable[[], T], is_over: Callable[[], bool]) -> T:
    """Returns the transaction's result; runs it again, with growing pauses, while Postgres is unavailable.

    Raises the last error once `is_over` returns True.

    transaction: must be safe to run twice, because a commit may have succeeded although its reply was lost.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return transaction()
        except UNAVAILABLE as error:
            if is_over():
                raise
            log.warning("database_unavailable", why=type(error).__name__, retry_in_s=pause_s)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

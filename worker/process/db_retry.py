"""Outliving Postgres's absence: the same transaction again and again, for as long as it is worth it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.telemetry.logs import get_logger

T = TypeVar("T")

log = get_logger(__name__)

AWAY = (OperationalError, InterfaceError, InternalError, PoolTimeout)
"""What SQLAlchemy raises when the server is gone, restarting, or its connections are; the third one when it has become
a standby that takes no writes."""

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0


def outlast(action: Callable[[], T], is_over: Callable[[], bool]) -> T:
    """The answer of `action`, called again while Postgres is away and not `is_over`; then its error is raised.

    action: one whole transaction that may run twice: its commit may have arrived although we were told otherwise.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return action()
        except AWAY as error:
            if is_over():
                raise
            log.warning("database_away", why=type(error).__name__, again_in_s=pause_s)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

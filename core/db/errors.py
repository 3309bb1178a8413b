"""Database errors that mean Postgres is unavailable, in one place for every process."""

from __future__ import annotations

from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

UNAVAILABLE = (OperationalError, InterfaceError, InternalError, PoolTimeout)
"""Raised by SQLAlchemy while the server is down, restarting or out of connections.

`InternalError` is among them because a server that has become a read-only standby raises it.
"""

"""The groups of database errors that processes handle alike."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

UNAVAILABLE = (OperationalError, InterfaceError, InternalError, PoolTimeout)
"""Raised by SQLAlchemy while the server is down, restarting or out of connections.

`InternalError` is among them because a server that has become a read-only standby raises it.
"""

STATEMENT_FAILED = (DBAPIError, PoolTimeout)
"""Raised for any failed statement, and if no connection became free. A loop logs them and retries in its next round."""

"""Whose request this is. The one place to change when there are keys."""

from __future__ import annotations

from flask import Flask

from jobs.tables import LOCAL_OWNER


def install(app: Flask) -> None:
    """Checks each request before its route runs."""
    app.before_request(check_request)


def check_request() -> None:
    """Refuses who may not ask. Without keys everybody who reaches the port may."""


def owner_id() -> str:
    """The owner whose jobs the current request may see and make."""
    return LOCAL_OWNER

"""Whose request this is, and whether it may be made: by API key, or, where none is asked for, by where it came from.

Every route wants a key but those listed here, so that a new one cannot be left open by forgetting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog
from flask import Flask, current_app, g, request

from api.middleware.auth_errors import (
    KeyInvalid,
    KeyRequired,
    RateLimited,
    ScopeMissing,
)
from api.middleware.local_only import check_local
from api.services import resources
from core.auth import api_keys
from core.auth.api_keys import Scope
from core.db.models import LOCAL_OWNER

# Pages and their files hold no data; probes and Prometheus have no key. What is at no address is answered 404 anyway.
PUBLIC_BLUEPRINTS = frozenset({"page", "health", "metrics"})
PUBLIC_ENDPOINTS = frozenset({None, "static", "openapi.spec"})

READING = frozenset({"GET", "HEAD", "OPTIONS"})
_SCOPE = "needed_scope"

Route = TypeVar("Route", bound=Callable[..., object])


def install(app: Flask) -> None:
    """Checks each request before its route runs."""
    app.before_request(check_request)


def needs(scope: Scope) -> Callable[[Route], Route]:
    """Decorates a route that wants more than `read` for a GET, or `write` for anything else."""

    def mark(route: Route) -> Route:
        setattr(route, _SCOPE, scope)
        return route

    return mark


def check_request() -> None:
    """Refuses who may not ask, and keeps who does for `owner_id`."""
    if not resources().settings.api.require_key:
        check_local(request, is_page=request.blueprint == "page")
        g.owner_id = g.key_id = LOCAL_OWNER
    elif not is_public():
        _check_key()


def is_public() -> bool:
    """Whether the current request's route wants no key."""
    return request.endpoint in PUBLIC_ENDPOINTS or request.blueprint in PUBLIC_BLUEPRINTS


def owner_id() -> str:
    """The owner whose jobs the current request may see and make."""
    return str(g.owner_id)


def key_id() -> str:
    """The public id of the current request's key; `local` where none is asked for."""
    return str(g.key_id)


def _check_key() -> None:
    caller = _authenticate()
    structlog.contextvars.bind_contextvars(key_id=caller.key_id)
    if wait_s := resources().rate_limit.take(caller.key_id):
        raise RateLimited(wait_s)
    if needed_scope() not in caller.scopes:
        raise ScopeMissing(needed_scope())
    g.owner_id, g.key_id = caller.owner_id, caller.key_id


def _authenticate() -> api_keys.Caller:
    given = request.authorization
    if given is None or given.type != "bearer" or not given.token:
        raise KeyRequired("send an API key as `Authorization: Bearer …`; `enrich keys create` makes one")
    with resources().sessions.begin() as session:
        caller = api_keys.authenticate(session, given.token)
    if caller is None:
        raise KeyInvalid("this key opens nothing: it is unknown or revoked; check it, or ask for another")
    return caller


def needed_scope() -> Scope:
    """What the current request's route wants of a key."""
    route = current_app.view_functions.get(request.endpoint or "")
    default = Scope.READ if request.method in READING else Scope.WRITE
    return getattr(route, _SCOPE, default)

"""Authentication and authorization by API key, or by the request's origin if keys are not required.

Every route requires a key except those listed here, so a new route is never public by accident.
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
from api.services import services
from core.auth import api_keys
from core.auth.api_keys import Scope
from core.db.models import LOCAL_OWNER

# Pages and their assets contain no data; probes and Prometheus have no key. Unknown paths get a 404 anyway (None).
PUBLIC_BLUEPRINTS = frozenset({"page", "health", "metrics"})
PUBLIC_ENDPOINTS = frozenset({None, "static", "openapi.spec"})

READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_SCOPE = "required_scope"

Route = TypeVar("Route", bound=Callable[..., object])


def install(app: Flask) -> None:
    """Checks every request before its route runs."""
    app.before_request(check_request)


def require_scope(scope: Scope) -> Callable[[Route], Route]:
    """Decorates a route that requires another scope than the default: `read` for a GET, `write` for anything else."""

    def mark(route: Route) -> Route:
        setattr(route, _SCOPE, scope)
        return route

    return mark


def check_request() -> None:
    """Rejects unauthorized requests and stores the caller's identity for `owner_id` and `key_id`."""
    if not services().settings.api.require_key:
        check_local(request, is_page=request.blueprint == "page")
        g.owner_id = g.key_id = LOCAL_OWNER
    elif not is_public():
        _check_key()


def is_public() -> bool:
    """Whether the current request's route requires no key."""
    return request.endpoint in PUBLIC_ENDPOINTS or request.blueprint in PUBLIC_BLUEPRINTS


def owner_id() -> str:
    """Returns the owner whose jobs the current request may read and create."""
    return str(g.owner_id)


def key_id() -> str:
    """Returns the public id of the current request's key, or `local` if keys are not required."""
    return str(g.key_id)


def _check_key() -> None:
    caller = _authenticate()
    structlog.contextvars.bind_contextvars(key_id=caller.key_id)
    if wait_s := services().rate_limit.take(caller.key_id):
        raise RateLimited(wait_s)
    if required_scope() not in caller.scopes:
        raise ScopeMissing(required_scope())
    g.owner_id, g.key_id = caller.owner_id, caller.key_id


def _authenticate() -> api_keys.Caller:
    credentials = request.authorization
    if credentials is None or credentials.type != "bearer" or not credentials.token:
        raise KeyRequired("send an API key as `Authorization: Bearer …`; `enrich keys create` creates one")
    with services().sessions.begin() as session:
        caller = api_keys.authenticate(session, credentials.token)
    if caller is None:
        raise KeyInvalid("invalid or revoked API key")
    return caller


def required_scope() -> Scope:
    """Returns the scope that the current request's route requires."""
    route = current_app.view_functions.get(request.endpoint or "")
    default = Scope.READ if request.method in READ_METHODS else Scope.WRITE
    return getattr(route, _SCOPE, default)

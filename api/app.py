"""Application factory. Neither importing this module nor creating the application opens a connection."""

from __future__ import annotations

from importlib.metadata import version

from apiflask import APIFlask

from api.middleware import auth, problems, request_context
from api.middleware import tracing as traces
from api.routes import (
    deliveries,
    health,
    jobs,
    metrics,
    model,
    pages,
    webhooks,
)
from api.schemas import openapi
from api.services import EXTENSION, open_services
from core.settings import Settings


def create_app(settings: Settings) -> APIFlask:
    """Creates the WSGI application of one process. The caller must close `services_of(app)` afterwards."""
    release = version("asset-enrichment")
    app = APIFlask("api", title=openapi.TITLE, version=release, docs_path=None, static_url_path="/assets")
    app.config["MAX_CONTENT_LENGTH"] = settings.api.max_request_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions[EXTENSION] = open_services(settings)
    # The order matters: a request gets its id before anything can reject it, and is counted when its response is
    # complete.
    metrics.install(app)
    request_context.install(app)
    traces.install(app)
    auth.install(app)
    problems.install(app)
    openapi.install(app)
    for blueprint in (
        jobs.blueprint,
        webhooks.blueprint,
        deliveries.blueprint,
        model.blueprint,
        health.blueprint,
        metrics.blueprint,
        pages.blueprint,
    ):
        app.register_blueprint(blueprint)
    return app

"""The application, made from settings. Importing this does nothing; making it connects to nothing."""

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
from api.services import EXTENSION, open_resources
from core.settings import Settings


def create_app(settings: Settings) -> APIFlask:
    """The WSGI application of one process. The caller closes `resources_of(app)` when it is done with it."""
    release = version("asset-enrichment")
    app = APIFlask("api", title=openapi.TITLE, version=release, docs_path=None, static_url_path="/assets")
    app.config["MAX_CONTENT_LENGTH"] = settings.api.max_request_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions[EXTENSION] = open_resources(settings)
    # In this order: a request has its id before anything may refuse it, and is counted when its answer is whole.
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

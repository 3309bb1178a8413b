"""Web pages: the demo page at `/`, the webhooks page, and the documentation at `/docs`.

All assets are served from here. The content security policy forbids loading anything from other hosts.
"""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from apiflask import APIBlueprint
from flask import Response, render_template, send_from_directory
from werkzeug.exceptions import NotFound

from api.schemas.error_codes import ERROR_CODES

blueprint = APIBlueprint("page", __name__, enable_openapi=False)

STATIC = Path(__file__).parents[1] / "static"

# The wheel that contains Swagger UI. Only its static files are used.
SWAGGER_PACKAGE = "flask_swagger_ui"
SWAGGER_FILES = frozenset({"swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"})

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


@blueprint.get("/")
def index() -> Response:
    return _page("index.html")


@blueprint.get("/webhooks")
def webhooks() -> Response:
    return _page("webhooks.html")


@blueprint.get("/docs")
def docs() -> Response:
    return _page("docs.html")


@blueprint.get("/docs/errors")
def errors() -> Response:
    return _with_policy(Response(render_template("errors.html", codes=ERROR_CODES), mimetype="text/html"))


@blueprint.get("/docs/assets/<name>")
def docs_asset(name: str) -> Response:
    if name not in SWAGGER_FILES:
        raise NotFound
    with importlib.resources.as_file(importlib.resources.files(SWAGGER_PACKAGE) / "dist") as folder:
        return send_from_directory(folder, name)


def _page(name: str) -> Response:
    return _with_policy(send_from_directory(STATIC, name))


def _with_policy(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = PAGE_POLICY
    return response

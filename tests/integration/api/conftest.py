"""Fixtures: the application on the test's own servers, and a client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient

from api.app import create_app
from api.services import services_of
from core.settings import Settings


@pytest.fixture
def app(settings: Settings) -> Iterator[APIFlask]:
    """The application. Errors become responses as in production; they are not raised into the test."""
    app = create_app(settings)
    yield app
    services_of(app).close()


@pytest.fixture
def client(app: APIFlask) -> FlaskClient:
    """A client that calls the application without a network."""
    return app.test_client()

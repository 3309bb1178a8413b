"""The application on the test's own servers, and a caller of it."""

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
    """The application. Errors are answered as they are in production, not raised into the test."""
    app = create_app(settings)
    yield app
    services_of(app).close()


@pytest.fixture
def client(app: APIFlask) -> FlaskClient:
    """A caller without a network in between."""
    return app.test_client()

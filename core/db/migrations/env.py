"""Alembic's entry point. Runs the migrations on the connection that `core.db.engine.migrate` opened."""

from __future__ import annotations

from alembic import context

from core.db import webhook_models
from core.db.models import Base

# Importing the module registers its tables in the metadata.
assert webhook_models.WebhookEndpoint.metadata is Base.metadata


def run() -> None:
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


run()

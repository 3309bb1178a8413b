"""Alembic's entry: runs the migrations on the connection that `jobs.database.migrate` opened."""

from __future__ import annotations

from alembic import context

from jobs.tables import Base
from jobs.webhooks import tables as webhook_tables

# Imported so that its tables are known.
assert webhook_tables.WebhookEndpoint.metadata is Base.metadata


def run() -> None:
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


run()

"""Postgres: connections, tables, migrations, pagination, notifications."""

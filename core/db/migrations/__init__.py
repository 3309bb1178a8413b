"""Alembic migrations; each release runs on the schema of the next one, too."""

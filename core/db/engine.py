"""Connections to Postgres and the schema's migrations."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, QueuePool, create_engine, text
from sqlalchemy.orm import Session, sessionmaker

from core.db.timeouts import TCP, bound
from core.settings import Settings

# Any constant will do: it names the advisory lock under which only one process migrates at a time.
MIGRATION_LOCK = 4_711_001

Sessions = sessionmaker[Session]


def driver_url(url: str) -> str:
    """The address as SQLAlchemy wants it: `postgres://` and `postgresql://` both mean psycopg 3."""
    scheme, separator, rest = url.partition("://")
    if separator and scheme in ("postgres", "postgresql"):
        return f"postgresql+psycopg://{rest}"
    return url


def make_engine(
    settings: Settings, *, answer_within_s: float | None = None, pool: type[QueuePool] = QueuePool
) -> Engine:
    """A pool of at most `database.pool_size` connections. Opens none yet.

    answer_within_s: the longest wait for a free connection and for an answer; `database.answer_timeout_s` if unset.
    """
    within_s = answer_within_s or settings.database.answer_timeout_s
    engine = create_engine(
        driver_url(settings.database.url.get_secret_value()),
        poolclass=pool,
        pool_size=settings.database.pool_size,
        max_overflow=0,
        pool_timeout=within_s,
        # A restarted server leaves dead connections in the pool; this finds them before a statement does.
        pool_pre_ping=True,
        # Errors would show the values of a statement, and among them are presigned addresses.
        hide_parameters=True,
        connect_args={
            "connect_timeout": settings.database.connect_timeout_s,
            # PgBouncer in transaction mode hands each transaction another server connection.
            "prepare_threshold": None,
            **TCP,
        },
    )
    bound(engine, within_s)
    return engine


def make_sessions(engine: Engine) -> Sessions:
    """Objects stay readable after commit: we hand rows on after the transaction has ended."""
    return sessionmaker(engine, expire_on_commit=False)


def direct_url(settings: Settings) -> str:
    """Address for what a transaction pooler cannot do: LISTEN and migrations."""
    url = settings.database.direct_url or settings.database.url
    return url.get_secret_value()


def migrate(settings: Settings, revision: str = "head") -> None:
    """Brings the schema to `revision`. Safe to call from several processes at once."""
    engine = create_engine(driver_url(direct_url(settings)), connect_args=TCP)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
            connection.commit()
            config = alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            connection.commit()
    finally:
        engine.dispose()


def alembic_config() -> Config:
    """Alembic's settings without an ini file: the scripts lie beside this module."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config

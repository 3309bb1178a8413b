"""The SQLAlchemy engine for Postgres, and schema migrations."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, QueuePool, create_engine, text
from sqlalchemy.orm import Session, sessionmaker

from core.db.timeouts import TCP_OPTIONS, limit_answer_time
from core.settings import Settings

# An arbitrary key: this advisory lock lets only one process migrate at a time.
MIGRATION_LOCK = 4_711_001

Sessions = sessionmaker[Session]


def driver_url(url: str) -> str:
    """Returns the URL with the psycopg 3 driver if it starts with `postgres://` or `postgresql://`."""
    scheme, separator, rest = url.partition("://")
    if separator and scheme in ("postgres", "postgresql"):
        return f"postgresql+psycopg://{rest}"
    return url


def make_engine(
    settings: Settings, *, answer_timeout_s: float | None = None, pool: type[QueuePool] = QueuePool
) -> Engine:
    """Returns an engine with a pool of at most `database.pool_size` connections. Opens none yet.

    answer_timeout_s: timeout for a free connection and for each answer; defaults to `database.answer_timeout_s`.
    """
    timeout_s = answer_timeout_s or settings.database.answer_timeout_s
    engine = create_engine(
        driver_url(settings.database.url.get_secret_value()),
        poolclass=pool,
        pool_size=settings.database.pool_size,
        max_overflow=0,
        pool_timeout=timeout_s,
        # After a server restart the pool holds dead connections; a ping detects them before a statement fails.
        pool_pre_ping=True,
        # Error messages would contain statement parameters, which include presigned URLs.
        hide_parameters=True,
        connect_args={
            "connect_timeout": settings.database.connect_timeout_s,
            # PgBouncer in transaction mode may use another server connection for each transaction.
            "prepare_threshold": None,
            **TCP_OPTIONS,
        },
    )
    limit_answer_time(engine, timeout_s)
    return engine


def make_sessions(engine: Engine) -> Sessions:
    """Returns a session factory. Objects stay readable after a commit, because rows are used after the transaction."""
    return sessionmaker(engine, expire_on_commit=False)


def direct_url(settings: Settings) -> str:
    """Returns the database URL that bypasses a transaction pooler, for LISTEN and migrations."""
    url = settings.database.direct_url or settings.database.url
    return url.get_secret_value()


def migrate(settings: Settings, revision: str = "head") -> None:
    """Upgrades the schema to `revision`. Several processes may call it at the same time."""
    engine = create_engine(driver_url(direct_url(settings)), connect_args=TCP_OPTIONS)
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
    """Returns the Alembic configuration. There is no ini file; the scripts are in `migrations` next to this module."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config

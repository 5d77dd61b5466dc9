"""Runs the migrations for Alembic on the database that the settings name; needs no Flask application."""

from typing import Any

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection, Engine, NullPool, create_engine, event, text

from webapp.models import Base, UtcDateTime
from webapp.postgres import connect_args
from webapp.settings import Settings

LOCK = 0x62697031  # any number, as long as nobody else locks the same one in this database


def migrate() -> None:
    """Brings the database to the wanted revision in one transaction; a second process waits, then finds it done."""
    settings: Settings = context.config.attributes.get("settings") or Settings()
    if context.is_offline_mode():
        context.configure(url=settings.database, literal_binds=True, **_options())
        with context.begin_transaction():
            context.run_migrations()
        return
    engine = _engine(settings.database)
    if engine.dialect.name == "sqlite":
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        context.configure(connection=connection, **_options())
        context.run_migrations()
        if connection.dialect.name == "sqlite":
            _check_foreign_keys(connection)
    engine.dispose()


def _options() -> dict[str, Any]:
    return {"target_metadata": Base.metadata, "render_as_batch": True, "render_item": _render_item}


def _engine(url: str) -> Engine:
    """An engine for one connection. On SQLite a transaction holds the one write lock from its beginning."""
    engine = create_engine(url, poolclass=NullPool, connect_args=connect_args(url, statement_s=None))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _take_over_transactions)
        event.listen(engine, "begin", _begin_immediate)
    return engine


def _take_over_transactions(connection: Any, _record: Any) -> None:
    """Python's driver would commit before each change of the schema, and SQLite follow references to moved tables."""
    connection.isolation_level = None
    connection.execute("PRAGMA busy_timeout=60000")
    connection.execute("PRAGMA foreign_keys=OFF")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _check_foreign_keys(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken:
        raise RuntimeError(f"The migration leaves a row of {broken[0]} that refers to no row of {broken[2]}; undone.")


def _render_item(kind: str, item: Any, _context: AutogenContext) -> str | bool:
    """Python code for a new migration: it must not depend on types that the models may lose one day."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


migrate()

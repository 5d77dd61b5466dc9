"""The database: what every table has in common, its session, and changes of state that of two callers one wins."""

import datetime
from typing import Any, TypeVar

from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session
from sqlalchemy import JSON, CheckConstraint, DateTime, MetaData, TypeDecorator, event, func, select, text, update
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, registry

MAX_ID = 2**31 - 1  # of an integer column in PostgreSQL
TURNS = 0x706C6174  # the advisory lock that this platform uses in PostgreSQL


class UtcDateTime(TypeDecorator[datetime.datetime]):
    """A moment in UTC, with its time zone also on SQLite, which stores none."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime.datetime | None, dialect: Dialect) -> datetime.datetime | None:
        return value and value.astimezone(datetime.UTC)

    def process_result_value(self, value: datetime.datetime | None, dialect: Dialect) -> datetime.datetime | None:
        return value and (
            value.replace(tzinfo=datetime.UTC) if value.tzinfo is None else value.astimezone(datetime.UTC)
        )


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


NAMES_OF_CONSTRAINTS = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    registry = registry(
        metadata=MetaData(naming_convention=NAMES_OF_CONSTRAINTS),
        type_annotation_map={datetime.datetime: UtcDateTime, dict[str, Any]: JSON, list[Any]: JSON},
    )


class LenientSession(Session):
    """Ends a transaction without a fault where its connection is lost: the server has ended it, too.

    Every request ends so; an answer that is right must not become an error because the database went after it.
    """

    def rollback(self) -> None:
        try:
            super().rollback()
        except DBAPIError:
            self.invalidate()

    def close(self) -> None:
        try:
            super().close()
        except DBAPIError:
            self.invalidate()


Row = TypeVar("Row", bound=Base)
db = SQLAlchemy(model_class=Base, disable_autonaming=True, session_options={"class_": LenientSession})


def one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(value) for value in values)})", name=column)


def find(row: type[Row], row_id: int) -> Row | None:
    """The row of that id; none has an id that the column cannot hold."""
    return db.session.get(row, row_id) if row_id <= MAX_ID else None


def move(row: type[Base], row_id: int, to: str, allowed: tuple[str, ...], *conditions: Any, **values: Any) -> bool:
    """Whether this call moved the row to status `to`: compare-and-set, so of two callers one wins.

    Does not commit. Other columns may be set in the same statement.
    """
    table: Any = row
    statement = update(row).where(table.id == row_id, table.status.in_(allowed), *conditions)
    result: Any = db.session.execute(
        statement.values(status=to, **values).execution_options(synchronize_session="fetch")
    )
    return bool(result.rowcount == 1)


def stop(row: type[Base], row_id: int) -> bool:
    """Whether this call stops the job of the row: at once where it waits, at its next step where it runs."""
    return move(row, row_id, "cancelled", ("queued",), finished_at=now()) or move(
        row, row_id, "cancelling", ("running", "cancelling")
    )


def take_turns() -> None:
    """Lets one transaction at a time go on from here; the others wait until it ends.

    For a rule about many rows that no constraint can hold. Rows that were read before may be stale: read them again.
    """
    if db.engine.dialect.name == "postgresql":
        db.session.execute(select(func.pg_advisory_xact_lock(TURNS)))
    else:
        db.session.execute(text("UPDATE user_account SET id = id WHERE false"))  # takes SQLite's one lock for writers


@event.listens_for(Engine, "connect")
def _prepare_sqlite(connection: Any, _record: Any) -> None:
    """WAL lets readers and one writer work side by side; writers wait for each other instead of failing."""
    if not type(connection).__module__.startswith("sqlite3"):
        return
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=10000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()

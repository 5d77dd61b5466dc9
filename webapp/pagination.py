"""Lists in pages: rows newest first, from a cursor on; and of what is at hand as a whole, some from a number on."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from flask import request
from sqlalchemy import Select, and_, or_, select

from webapp.errors import Invalid
from webapp.models import MAX_ID, Base, db

Row = TypeVar("Row", bound=Base)
DEFAULT_LIMIT = 25
MAX_LIMIT = 200


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some rows, and the cursor of the next page or None."""

    items: list[Row]
    next: str | None


@dataclass(frozen=True)
class Window:
    """Which of `total` entries are shown: at most `size` from `start` on."""

    total: int
    start: int
    size: int

    @classmethod
    def asked_for(cls, total: int, size: int) -> "Window":
        """By the address of the request."""
        return cls(total, min(max(0, request.args.get("start", 0, type=int)), MAX_ID), size)

    @property
    def shown(self) -> slice:
        return slice(self.start, self.start + self.size)

    @property
    def following(self) -> int | None:
        """Where the next page starts; None where this is the last one."""
        return self.shown.stop if self.shown.stop < self.total else None


def page_of(
    statement: Select[Row], row: type[Row], limit: int = DEFAULT_LIMIT, cursor: str | int | None = None, by: Any = None
) -> Page[Row]:
    """The rows of `statement` below `cursor`, newest first: highest id, or latest moment `by`. Raises Invalid."""
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid(f"limit is {limit}; it must lie between 1 and {MAX_LIMIT}.", {"limit": f"1 to {MAX_LIMIT}"})
    column: Any = row.id  # type: ignore[attr-defined]  # every row has an integer id
    if cursor:
        statement = statement.where(_below(row, _id_of(str(cursor)), by))
    order = [column.desc()] if by is None else [by.desc(), column.desc()]
    rows = list(db.session.scalars(statement.order_by(*order).limit(limit + 1)))
    return Page(rows[:limit], str(rows[limit - 1].id) if len(rows) > limit else None)  # type: ignore[attr-defined]


def _id_of(cursor: str) -> int:
    if not cursor.isascii() or not cursor.isdecimal() or len(cursor) > len(str(MAX_ID)) or int(cursor) > MAX_ID:
        raise _not_ours()
    return int(cursor)


def _below(row: type[Base], row_id: int, by: Any) -> Any:
    column: Any = row.id  # type: ignore[attr-defined]
    if by is None:
        return column < row_id
    moment = db.session.scalar(select(by).where(column == row_id))
    if moment is None:
        raise _not_ours()
    return and_(by <= moment, or_(by < moment, column < row_id))  # the first lets an index find the place


def _not_ours() -> Invalid:
    return Invalid("The cursor is not one that this list gave out.", {"cursor": "take it from `next`"})

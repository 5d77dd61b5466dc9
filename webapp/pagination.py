"""Lists in pages: newest first, from a cursor on."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Select

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


def page_of(statement: Select[Row], row: type[Row], limit: int = DEFAULT_LIMIT, cursor: str | None = None) -> Page[Row]:
    """The rows of `statement` below `cursor`, newest (highest id) first. Raises Invalid."""
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid(f"limit is {limit}; it must lie between 1 and {MAX_LIMIT}.", {"limit": f"1 to {MAX_LIMIT}"})
    column: Any = row.id  # type: ignore[attr-defined]  # every row has an integer id
    if cursor:
        if not cursor.isascii() or not cursor.isdecimal() or len(cursor) > len(str(MAX_ID)) or int(cursor) > MAX_ID:
            raise Invalid("The cursor is not one that this list gave out.", {"cursor": "take it from `next`"})
        statement = statement.where(column < int(cursor))
    rows = list(db.session.scalars(statement.order_by(column.desc()).limit(limit + 1)))
    return Page(rows[:limit], str(rows[limit - 1].id) if len(rows) > limit else None)  # type: ignore[attr-defined]

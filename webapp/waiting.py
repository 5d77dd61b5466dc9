"""The place of a row in its queue."""

from typing import Any

from sqlalchemy import select

from webapp import queue
from webapp.models import db


def place(task: queue.Task, row: Any) -> int | None:
    """1 where the row is the next; None where it does not wait, has not been rung for, or Redis does not answer."""
    kind: Any = type(row)
    in_line = queue.rows(task) if row.status == kind.WAITING else []
    if row.id not in in_line:
        return None
    waiting = set(db.session.scalars(select(kind.id).where(kind.status == kind.WAITING)))
    return 1 + len(waiting.intersection(in_line[: in_line.index(row.id)]))

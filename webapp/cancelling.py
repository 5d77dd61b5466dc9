"""Cancelling what a worker works on, or will."""

from typing import Any

from webapp import audit
from webapp.errors import Conflict
from webapp.models import User, db, stop


def cancel(row: Any, user: User) -> None:
    """Stops the job of the row: at once where it waits, at its next step where it runs. Raises Conflict."""
    kind: Any = type(row)
    words = kind.__tablename__.replace("_", " ")
    if not stop(kind, row.id):
        db.session.rollback()
        raise Conflict(
            f"{words.capitalize()} {row.id} has {row.status}; only a waiting or running one can be cancelled."
        )
    audit.record(f"{kind.__tablename__}.cancel", row, user)
    db.session.commit()

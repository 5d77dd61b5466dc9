"""The audit trail: one row for each change that a person or client system makes."""

from typing import Any

from flask import g, has_request_context

from webapp.models import AuditEvent, Base, User, db


def record(action: str, subject: Base, user: User | None, **details: Any) -> None:
    """Adds the event to the current transaction: it is kept if and only if the change is."""
    row: Any = subject
    if row.id is None:
        db.session.flush()
    request_id = g.get("request_id") if has_request_context() else None
    db.session.add(
        AuditEvent(
            user_id=user.id if user else None,
            action=action,
            subject=f"{row.__tablename__}:{row.id}",
            details=details,
            request_id=request_id,
        )
    )

"""The rows of people, of the tokens by which their client systems ask, and of what they did."""

import datetime
import secrets
from typing import Any

from flask_login import UserMixin
from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from webapp.database import Base, now, one_of

ROLES = ("viewer", "researcher", "admin")
SCOPES = ("predict", "write", "admin")


class User(UserMixin, Base):
    __tablename__ = "user_account"
    __table_args__ = (one_of("role", ROLES), CheckConstraint("email = lower(email)", name="email_lower"))

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(20), default="viewer")
    is_enabled: Mapped[bool] = mapped_column(default=True)
    session_key: Mapped[str] = mapped_column(String(43), unique=True, default=lambda: secrets.token_urlsafe(32))
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    last_login_at: Mapped[datetime.datetime | None]

    @property
    def is_active(self) -> bool:
        return self.is_enabled

    def get_id(self) -> str:
        """The key that a session carries; a new one ends all sessions of the person."""
        return self.session_key


class ApiToken(Base):
    __tablename__ = "api_token"
    __table_args__ = (one_of("scope", SCOPES),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    scope: Mapped[str] = mapped_column(String(20))
    hint: Mapped[str] = mapped_column(String(12))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime.datetime] = mapped_column(default=now)
    last_used_at: Mapped[datetime.datetime | None]
    revoked_at: Mapped[datetime.datetime | None]
    expires_at: Mapped[datetime.datetime | None]
    user: Mapped[User] = relationship()

    @property
    def has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= now()


class AuditEvent(Base):
    """Who did what to which row; append-only."""

    __tablename__ = "audit_event"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime.datetime] = mapped_column(default=now, index=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id"))
    action: Mapped[str] = mapped_column(String(60))
    subject: Mapped[str] = mapped_column(String(60))
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    request_id: Mapped[str | None] = mapped_column(String(64))
    user: Mapped[User | None] = relationship()

"""People and their tokens."""

import datetime
import re
import secrets

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from webapp import audit
from webapp.errors import Conflict, Invalid, NotFound
from webapp.models import ROLES, SCOPES, ApiToken, User, db, find, now, take_turns
from webapp.security import digest, hash_password, is_password, new_token, wait_until_forgotten

EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,189}")
MIN_PASSWORD_LENGTH = 10
MAX_TOKEN_DAYS = 3650


def has_users() -> bool:
    return db.session.scalar(select(User.id).limit(1)) is not None


def create_first_admin(email: str, password: str) -> User:
    """The admin of an installation that has nobody yet. Raises Conflict where somebody was faster, Invalid."""
    take_turns()
    if has_users():
        raise Conflict("There is a user already. Log in.")
    return create_user(email, password, "admin", by=None)


def create_user(email: str, password: str, role: str, by: User | None) -> User:
    """A new person. Raises Invalid, Conflict."""
    email = email.strip().lower()
    if not EMAIL.fullmatch(email):
        raise Invalid("The e-mail address is not one.", {"email": "name@example.org"})
    if role not in ROLES:
        raise Invalid(f"The role is '{role}'; it must be one of {', '.join(ROLES)}.", {"role": ", ".join(ROLES)})
    check_password(password)
    if db.session.scalar(select(User.id).where(User.email == email)):
        raise Conflict(f"There is already a user {email}.")
    user = User(email=email, password_hash=hash_password(password), role=role)
    db.session.add(user)
    try:
        audit.record("user.create", user, by, role=role)
        db.session.commit()
    except IntegrityError as error:  # somebody else was faster
        db.session.rollback()
        raise Conflict(f"There is already a user {email}.") from error
    return user


def check_password(password: str) -> None:
    """Raises Invalid for a password that is too short or absurdly long."""
    if not MIN_PASSWORD_LENGTH <= len(password) <= 200:
        raise Invalid(
            f"The password must have {MIN_PASSWORD_LENGTH} to 200 characters.",
            {"password": f"{MIN_PASSWORD_LENGTH} to 200 characters"},
        )


def authenticate(email: str, password: str) -> User | None:
    """The enabled person with this address and password; the login is remembered."""
    email = email.strip().lower()
    user = db.session.scalar(select(User).where(User.email == email)) if EMAIL.fullmatch(email) else None
    if not is_password(user, password[:200]) or user is None or not user.is_enabled:
        return None
    user.last_login_at = now()
    audit.record("user.log_in", user, user)
    db.session.commit()
    return user


def get_user(user_id: int) -> User:
    """The person. Raises NotFound."""
    user = find(User, user_id)
    if user is None:
        raise NotFound(f"There is no user {user_id}.")
    return user


def change_user(
    user: User, by: User, role: str | None = None, is_enabled: bool | None = None, password: str | None = None
) -> None:
    """Changes a person's role, admission or password; new admission or password ends the person's sessions.

    Raises Conflict where no enabled admin would be left, Invalid.
    """
    if role is not None and role not in ROLES:
        raise Invalid(f"The role is '{role}'; it must be one of {', '.join(ROLES)}.", {"role": ", ".join(ROLES)})
    if password:
        check_password(password)
    password_hash = hash_password(password) if password else None  # slow: not while others wait
    take_turns()
    db.session.refresh(user)
    loses_admin = user.role == "admin" and user.is_enabled and (role not in (None, "admin") or is_enabled is False)
    if loses_admin and _admins() < 2:
        raise Conflict("This is the last admin. Make somebody else an admin first.")
    changes = {"role": role, "is_enabled": is_enabled, "password": "changed" if password else None}
    if role is not None:
        user.role = role
    if is_enabled is not None:
        user.is_enabled = is_enabled
    if password_hash:
        user.password_hash = password_hash
    if password or is_enabled is False:
        _renew_key(user)
    audit.record("user.change", user, by, **{key: value for key, value in changes.items() if value is not None})
    db.session.commit()
    if role is not None or is_enabled is not None:
        wait_until_forgotten()


def end_sessions(user: User) -> None:
    """Makes every cookie of the person worthless, on this device and the others."""
    _renew_key(user)
    db.session.commit()


def _renew_key(user: User) -> None:
    user.session_key = secrets.token_urlsafe(32)


def _admins() -> int:
    statement = select(func.count()).select_from(User).where(User.role == "admin", User.is_enabled)
    return db.session.scalar(statement) or 0


def create_token(user: User, name: str, scope: str, by: User | None, days: int | None = None) -> tuple[ApiToken, str]:
    """A new token and its secret, which is shown once and kept only as a hash. Raises Invalid.

    It ends after so many days; without them when it is revoked.
    """
    name = " ".join(name.split())
    if not 1 <= len(name) <= 100:
        raise Invalid("The name of a token must have 1 to 100 characters.", {"name": "1 to 100 characters"})
    if scope not in SCOPES:
        raise Invalid(f"The scope is '{scope}'; it must be one of {', '.join(SCOPES)}.", {"scope": ", ".join(SCOPES)})
    if days is not None and not 1 <= days <= MAX_TOKEN_DAYS:
        text = f"1 to {MAX_TOKEN_DAYS}"
        raise Invalid(f"A token ends after {text} days, or never where the days are left out.", {"days": text})
    secret = new_token()
    token = ApiToken(user=user, name=name, scope=scope, hint=secret[:8], sha256=digest(secret))
    token.expires_at = None if days is None else now() + datetime.timedelta(days=days)
    db.session.add(token)
    audit.record("token.create", token, by, owner=user.id, scope=scope, days=days)
    db.session.commit()
    return token, secret


def tokens_of(user: User) -> list[ApiToken]:
    return list(db.session.scalars(select(ApiToken).where(ApiToken.user_id == user.id).order_by(ApiToken.id.desc())))


def revoke_token(token_id: int, by: User) -> None:
    """Ends a token, one's own or anybody's for an admin, everywhere at once. Twice is harmless. Raises NotFound."""
    token = find(ApiToken, token_id)
    if token is None or (token.user_id != by.id and by.role != "admin"):
        raise NotFound(f"There is no token {token_id}.")
    if token.revoked_at is None:
        token.revoked_at = now()
        audit.record("token.revoke", token, by)
        db.session.commit()
        wait_until_forgotten()

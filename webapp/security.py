"""Who may do what. Closed by default: a view without `@allow` and outside `PUBLIC` answers nobody."""

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from flask import Flask, Request, Response, current_app, g, redirect, request, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask_login import LoginManager, current_user
from flask_wtf.csrf import CSRFProtect
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import contains_eager
from werkzeug.wrappers import Response as BaseResponse

from webapp import errors, throttle
from webapp.models import ROLES, SCOPES, ApiToken, User, db, now
from webapp.peer import introduce
from webapp.throttle import limiter as limiter
from webapp.tokens import digest as digest
from webapp.tokens import new_token as new_token
from webapp.tokens import secret_of

# The one list of what is open to everybody: endpoint names.
PUBLIC = frozenset(
    {
        "static",
        "bootstrap.static",
        "assets.vendor",
        "auth.log_in",
        "auth.first_admin",
        "health.ready",
        "health.live",
        "api.openapi_document",
        "docs.page",
    }
)
_HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
)
UNSAFE_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
KNOWN_S = (
    0.1  # a process believes what it read of a token; a revocation waits for so long before it says that it is done
)
MOST_KNOWN = 10_000

hasher = PasswordHasher()
_hashing = threading.Semaphore(2)  # each check takes 64 MiB for a moment; many at once must not exhaust the process
login_manager = LoginManager()
csrf = CSRFProtect()


class Sessions(SecureCookieSessionInterface):
    """Flask's sessions; a request without a cookie has an empty one, and nobody derives a key to read it."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        if self.get_cookie_name(app) in request.cookies:
            return super().open_session(app, request)
        return self.session_class()


class Expired(errors.AppError):
    """The token was valid once."""

    status = 401


View = TypeVar("View", bound=Callable[..., object])


@dataclass(frozen=True)
class Rule:
    role: str
    scope: str


@dataclass(frozen=True)
class Actor:
    """Who asks: a person by session, or a client system by token, which never may more than its owner."""

    user_id: int
    role: str
    token_id: int | None = None
    scope: str | None = None

    @property
    def user(self) -> User:
        """The row, read where a view needs it."""
        return db.session.get_one(User, self.user_id)

    def may(self, rule: Rule) -> bool:
        has_role = ROLES.index(self.role) >= ROLES.index(rule.role)
        has_scope = self.scope is None or SCOPES.index(self.scope) >= SCOPES.index(rule.scope)
        return has_role and has_scope


def allow(role: str, scope: str | None = None) -> Callable[[View], View]:
    """Opens a view to people of at least `role` and to their tokens of at least `scope`.

    By default that is `write`, and `admin` for what only admins may do.
    """
    scope = scope or ("admin" if role == "admin" else "write")
    rule = Rule(ROLES[ROLES.index(role)], SCOPES[SCOPES.index(scope)])

    def mark(view: View) -> View:
        view.rule = rule  # type: ignore[attr-defined]  # read by `_guard` and by the test that walks all routes
        return view

    return mark


def actor() -> Actor:
    """Who asks; only within a request that passed the guard of a closed route."""
    return cast(Actor, g.actor)


def may(role: str) -> bool:
    """Whether the person at the page has at least `role`: for templates."""
    who: Actor | None = g.get("actor")
    return who is not None and ROLES.index(who.role) >= ROLES.index(role)


def init_app(app: Flask) -> None:
    app.session_interface = Sessions()
    login_manager.init_app(app, add_context_processor=False)  # else every page, an error's too, asks the database
    login_manager.user_loader(_user_of_session)
    csrf.init_app(app)
    throttle.init_app(app)
    app.extensions["known_tokens"] = {}
    app.before_request(_guard)
    app.after_request(_headers)
    app.jinja_env.globals["may"] = may


def _user_of_session(session_key: str) -> User | None:
    return db.session.scalar(select(User).where(User.session_key == session_key, User.is_enabled))


def _guard() -> Response | BaseResponse | None:
    """Refuses a request before its view runs: identity, then right, then forgery."""
    endpoint, is_unsafe = request.endpoint, request.method in UNSAFE_METHODS
    if endpoint in PUBLIC:
        if is_unsafe:
            csrf.protect()
        if _has_session():
            introduce(request.environ)
        return None
    who = g.actor = _identify()
    if who is None:
        return _unknown()
    introduce(request.environ)
    if endpoint is None:
        return None  # nothing there: 404 or 405 by the router
    rule: Rule | None = getattr(current_app.view_functions[endpoint], "rule", None)
    if rule is None or not who.may(rule):
        need = f" It needs the role '{rule.role}' and a token of scope '{rule.scope}'." if rule else ""
        return errors.respond(403, "You may not do this." + need)
    if is_unsafe and who.token_id is None:
        csrf.protect()
    return None


def _has_session() -> bool:
    """Whether the cookie is one that this site signed for a person; asks no database."""
    opened = current_app.session_interface.open_session(current_app, request)
    return bool(opened and "_user_id" in opened)


def _identify() -> Actor | None:
    """The actor of this request. A request with an Authorization header is never a session's. Raises Expired."""
    if "Authorization" in request.headers:
        secret = secret_of(request.headers["Authorization"])
        return None if secret is None else _client(digest(secret))
    return Actor(current_user.id, current_user.role) if current_user.is_authenticated else None


def _unknown() -> Response | BaseResponse:
    if errors.wants_json():
        return errors.respond(401, "Log in, or send the header 'Authorization: Bearer TOKEN' with a valid token.")
    if request.headers.get("HX-Request"):
        response = Response(status=401)
        response.headers["HX-Redirect"] = url_for("auth.log_in")
        return response
    target = request.full_path.rstrip("?") if request.method == "GET" else None
    return redirect(url_for("auth.log_in", next=target if target != "/" else None))


def _client(sha256: str) -> Actor | None:
    """The client system with this token. Raises Expired."""
    known: dict[str, tuple[Actor, float]] = current_app.extensions["known_tokens"]
    asked_s = time.monotonic()
    actor, until_s = known.get(sha256, (None, 0.0))
    if asked_s < until_s:
        return actor
    token = _token(sha256)
    if token is None:
        known.pop(sha256, None)
        return None
    if len(known) >= MOST_KNOWN:
        known.clear()
    actor = Actor(token.user_id, token.user.role, token.id, token.scope)
    known[sha256] = actor, asked_s + KNOWN_S
    return actor


def _token(sha256: str) -> ApiToken | None:
    """The row of a token that is good. Raises Expired."""
    statement = (
        select(ApiToken)
        .join(ApiToken.user)
        .options(contains_eager(ApiToken.user))
        .where(ApiToken.sha256 == sha256, ApiToken.revoked_at.is_(None), User.is_enabled)
    )
    token = db.session.scalar(statement)
    if token and token.has_expired:
        raise Expired(
            f"The token '{token.name}' ({token.hint}…) expired on {token.expires_at:%Y-%m-%d}. "
            "Make a new one on the page of the account."
        )
    if token and (token.last_used_at is None or (now() - token.last_used_at).total_seconds() > 60):
        _note_use(token.id)
    return token


def wait_until_forgotten() -> None:
    """Returns when no process takes a token any more for what it was before the last commit."""
    current_app.extensions["known_tokens"].clear()
    time.sleep(KNOWN_S)


def _note_use(token_id: int) -> None:
    """Best effort: a database that can only be read does not lock client systems out."""
    try:
        db.session.execute(update(ApiToken).where(ApiToken.id == token_id).values(last_used_at=now()))
        db.session.commit()
    except OperationalError:
        db.session.rollback()


def hash_password(password: str) -> str:
    return hasher.hash(password)


def is_password(user: User | None, password: str) -> bool:
    """Whether the password is the user's; takes as long where there is no such user."""
    try:
        with _hashing:
            return hasher.verify(user.password_hash if user else _nobody(), password) and user is not None
    except (VerificationError, InvalidHashError):
        return False


def _nobody() -> str:
    global _nobody_hash
    _nobody_hash = _nobody_hash or hasher.hash(secrets.token_hex(16))
    return _nobody_hash


_nobody_hash = ""


def first_admin_code(secret: str) -> str:
    """The code that the first-run page asks for where strangers can reach it: the same in every process."""
    return hmac.new(secret.encode(), b"first-admin", "sha256").hexdigest()[:12]


def _headers(response: Response) -> Response:
    """Adds what is missing. A look at all headers at once: each look at one raises an exception where it is missing."""
    present = {name.lower() for name, _ in response.headers}
    wanted = [*_HEADERS, ("X-Request-ID", g.get("request_id", ""))]
    if request.endpoint not in ("static", "bootstrap.static", "assets.vendor"):
        wanted.append(("Cache-Control", "no-store"))
    for name, value in wanted:
        if name.lower() not in present:
            response.headers.add(name, value)
    return response

"""Logging in and out, the first admin, and one's own account."""

import hmac
import re
from collections.abc import Callable

from flask import Blueprint, current_app, flash, redirect, render_template, request, session, url_for
from flask_login import login_user, logout_user
from werkzeug.wrappers import Response as BaseResponse

from webapp.auth import service
from webapp.errors import AppError, Invalid
from webapp.models import SCOPES, User
from webapp.security import actor, allow, first_admin_code, is_password, limiter
from webapp.throttle import asker

bp = Blueprint("auth", __name__)
Page = str | BaseResponse | tuple[str, int]
OWN_PAGE = re.compile(r"/(?![/\\])[^\x00-\x20\x7f\\]*")  # a path of this site: browsers drop tabs and turn \ into /
ADDRESS_LIMIT = "30 per minute"  # attempts from one address, whatever the account
TOO_MANY = "Too many attempts. Wait a minute and try again."


def _login_limit() -> str:
    limit: str = current_app.extensions["settings"].login_limit
    return limit


def _typed_account() -> str:
    return request.form.get("email", "").strip().lower()[:254]


def _throttled(account: Callable[[], str]) -> Callable[[Callable[[], Page]], Callable[[], Page]]:
    """Counts each attempt before it is judged, so that those made at the same time count too."""
    by_account = limiter.shared_limit(
        _login_limit,
        "account",
        key_func=lambda: f"{asker()}|{account()}",
        methods=["POST"],
        error_message=TOO_MANY,
    )
    by_address = limiter.shared_limit(ADDRESS_LIMIT, "address", methods=["POST"], error_message=TOO_MANY)
    return lambda view: by_address(by_account(view))


def _give_back_attempt() -> None:
    """Forgets the attempt of this request, which was no guess."""
    for limit in limiter.current_limits:
        limiter.limiter.hit(limit.limit, *limit.request_args, cost=-1)


@bp.route("/login", methods=["GET", "POST"])
@_throttled(_typed_account)
def log_in() -> Page:
    if not service.has_users():
        return redirect(url_for("auth.first_admin"))
    if request.method == "GET":
        return render_template("auth/login.html", email="", error=None)
    email = request.form.get("email", "")
    user = service.authenticate(email, request.form.get("password", ""))
    if user is None:
        error = "The e-mail address or the password is wrong, or the account is disabled."
        return render_template("auth/login.html", email=email, error=error), 401
    _give_back_attempt()
    _begin_session(user)
    return redirect(_own_page(request.args.get("next", "")))


def _begin_session(user: User) -> None:
    session.clear()  # nothing from before the login is carried over
    session.permanent = True
    login_user(user)


def _own_page(target: str) -> str:
    return target if OWN_PAGE.fullmatch(target) else url_for("pages.dashboard")


@bp.post("/logout")
@allow("viewer")
def log_out() -> BaseResponse:
    service.end_sessions(actor().user)
    logout_user()
    session.clear()
    return redirect(url_for("auth.log_in"))


@bp.route("/setup", methods=["GET", "POST"])
@_throttled(lambda: "the first admin")
def first_admin() -> Page:
    """Makes the first admin; closed as soon as there is any user."""
    if service.has_users():
        return redirect(url_for("auth.log_in"))
    if request.method == "GET":
        return _first_admin_page()
    try:
        _check_code(request.form.get("code", ""))
        user = service.create_first_admin(request.form.get("email", ""), _new_password())
    except AppError as error:
        return _first_admin_page(error), error.status
    _begin_session(user)
    flash("Welcome. You are the first admin of this installation.", "success")
    return redirect(url_for("pages.dashboard"))


def _first_admin_page(error: AppError | None = None) -> str:
    is_code_asked = not current_app.extensions["settings"].is_local
    return render_template("auth/first_admin.html", is_code_asked=is_code_asked, error=error, **_fields_of(error))


def _check_code(code: str) -> None:
    """Where strangers can reach the site, only who reads its log may become the first admin. Raises Invalid."""
    settings = current_app.extensions["settings"]
    expected = first_admin_code(settings.secret)
    if not settings.is_local and not hmac.compare_digest(code.strip().encode(), expected.encode()):
        raise Invalid("The code is wrong. It is printed in the log of the web process.", {"code": "not this code"})


def _new_password() -> str:
    """The password, typed twice. Raises Invalid."""
    password = request.form.get("password", "")
    if password != request.form.get("password_again", ""):
        raise Invalid("The two passwords differ.", {"password_again": "differs from the password"})
    return password


def _fields_of(error: AppError | None) -> dict[str, object]:
    return {"errors": error.fields if isinstance(error, Invalid) else {}}


@bp.get("/account")
@allow("viewer", scope="admin")
def account() -> str:
    return _account_page()


def _account_page(error: AppError | None = None, secret: str | None = None) -> str:
    tokens = service.tokens_of(actor().user)
    return render_template(
        "auth/account.html", tokens=tokens, scopes=SCOPES, secret=secret, error=error, **_fields_of(error)
    )


@bp.post("/account/tokens")
@allow("viewer", scope="admin")
def create_token() -> Page:
    """The account with the secret of the new token, which no later page shows again."""
    user = actor().user
    try:
        _, secret = service.create_token(
            user, request.form.get("name", ""), request.form.get("scope", ""), by=user, days=_days()
        )
    except AppError as error:
        return _account_page(error), error.status
    return _account_page(secret=secret), 201


def _days() -> int | None:
    """How long a new token is to last; None where nothing is typed. Raises Invalid."""
    text = request.form.get("days", "").strip()
    if text and not (text.isascii() and text.isdecimal() and len(text) < 6):
        raise Invalid(f"The days are '{text[:20]}'; write a whole number, or nothing.", {"days": "a whole number"})
    return int(text) if text else None


@bp.post("/account/tokens/<int:token_id>/revoke")
@allow("viewer", scope="admin")
def revoke_token(token_id: int) -> BaseResponse:
    service.revoke_token(token_id, actor().user)
    flash("The token is revoked: it opens nothing from now on.", "success")
    return redirect(url_for("auth.account"))


@bp.post("/account/password")
@allow("viewer", scope="admin")
@_throttled(lambda: actor().user.email)
def change_password() -> Page:
    user = actor().user
    try:
        if not is_password(user, request.form.get("current_password", "")[:200]):
            raise Invalid("The current password is wrong.", {"current_password": "not your password"})
        service.change_user(user, user, password=_checked(_new_password()))
    except AppError as error:
        return _account_page(error), error.status
    _give_back_attempt()
    _begin_session(user)  # the change ended every session, this one too
    flash("Your password is changed. Your other sessions have ended.", "success")
    return redirect(url_for("auth.account"))


def _checked(password: str) -> str:
    service.check_password(password)
    return password

"""What only admins see: people, tokens, the queue and the audit trail."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response as BaseResponse

from webapp import queue
from webapp.auth import service
from webapp.errors import AppError, Invalid
from webapp.models import ROLES, ApiToken, AuditEvent, Dataset, Evaluation, Experiment, RateSearch, User, db
from webapp.pagination import page_of
from webapp.security import actor, allow

bp = Blueprint("admin", __name__, url_prefix="/admin")
Page = str | BaseResponse | tuple[str, int]
UNDER_WAY = ("pending", "queued", "running", "cancelling")


@bp.get("/")
@allow("admin")
def index() -> BaseResponse:
    return redirect(url_for("admin.users"))


@bp.get("/users")
@allow("admin")
def users() -> str:
    return _users_page()


def _users_page(error: AppError | None = None) -> str:
    page = page_of(select(User), User, limit=50, cursor=request.args.get("cursor"))
    fields = error.fields if isinstance(error, Invalid) else {}
    return render_template("admin/users.html", page=page, roles=ROLES, error=error, errors=fields)


@bp.post("/users")
@allow("admin")
def create_user() -> Page:
    form = request.form
    try:
        user = service.create_user(form.get("email", ""), form.get("password", ""), form.get("role", ""), actor().user)
    except AppError as error:
        return _users_page(error), error.status
    flash(f"{user.email} can log in now.", "success")
    return redirect(url_for("admin.users"))


@bp.get("/users/<int:user_id>")
@allow("admin")
def user(user_id: int) -> str:
    person = service.get_user(user_id)
    return render_template("admin/user.html", person=person, tokens=service.tokens_of(person), roles=ROLES)


@bp.post("/users/<int:user_id>")
@allow("admin")
def change_user(user_id: int) -> BaseResponse:
    """Changes what the form holds: the role, the admission or the password."""
    person, form = service.get_user(user_id), request.form
    is_enabled = form["is_enabled"] == "yes" if "is_enabled" in form else None
    if "password" in form:
        service.check_password(form["password"])
    service.change_user(person, actor().user, form.get("role"), is_enabled, form.get("password"))
    flash(f"{person.email} is changed.", "success")
    return redirect(url_for("admin.user", user_id=user_id))


@bp.get("/tokens")
@allow("admin")
def tokens() -> str:
    statement = select(ApiToken).options(joinedload(ApiToken.user))
    return render_template("admin/tokens.html", page=page_of(statement, ApiToken, cursor=request.args.get("cursor")))


@bp.post("/tokens/<int:token_id>/revoke")
@allow("admin")
def revoke_token(token_id: int) -> BaseResponse:
    service.revoke_token(token_id, actor().user)
    flash("The token is revoked: it opens nothing from now on.", "success")
    return redirect(url_for("admin.tokens"))


@bp.get("/queue")
@allow("admin")
def work() -> str:
    return render_template("admin/queue.html", **_work())


@bp.get("/queue/live")
@allow("admin")
def live_work() -> str:
    return render_template("admin/_queue.html", **_work())


def _work() -> dict[str, Any]:
    """What waits and who works; the rows are the truth, Redis says only who has heard of them."""
    rows = {kind.__tablename__: _under_way(kind) for kind in (Dataset, Experiment, Evaluation, RateSearch)}
    try:
        return {"rows": rows, "lengths": queue.lengths(), "workers": queue.workers(), "is_redis_up": True}
    except RedisError:
        return {"rows": rows, "lengths": {}, "workers": [], "is_redis_up": False}


def _under_way(kind: type[Dataset | Experiment | Evaluation | RateSearch]) -> list[Any]:
    return list(db.session.scalars(select(kind).where(kind.status.in_(UNDER_WAY)).order_by(kind.id).limit(100)))


@bp.get("/audit")
@allow("admin")
def audit() -> str:
    statement = select(AuditEvent).options(joinedload(AuditEvent.user))
    page = page_of(statement, AuditEvent, limit=50, cursor=request.args.get("cursor"))
    return render_template("admin/audit.html", page=page)

"""Searches: the list, and watching one. A new one begins on the form of a new experiment."""

from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload
from werkzeug.wrappers import Response as BaseResponse

from ml.space import title_of
from webapp.models import Search
from webapp.pagination import page_of
from webapp.searches import results, service
from webapp.security import actor, allow

bp = Blueprint("searches", __name__, url_prefix="/searches")
TRIALS_SHOWN_LIVE = 25


@bp.get("/")
@allow("viewer")
def index() -> str:
    statement = select(Search).options(joinedload(Search.dataset), selectinload(Search.trials))
    page = page_of(statement, Search, cursor=request.args.get("cursor"))
    return render_template(
        "searches/index.html", page=page, statuses={search.id: service.status(search) for search in page.items}
    )


@bp.get("/<int:search_id>")
@allow("viewer")
def detail(search_id: int) -> str:
    return render_template("searches/detail.html", **_live(service.get(search_id)))


@bp.get("/<int:search_id>/live")
@allow("viewer")
def live(search_id: int) -> str:
    return render_template("searches/_live.html", **_live(service.get(search_id)))


def _live(search: Search) -> dict[str, Any]:
    found, is_final = results.of(search), service.is_final(search)
    numbered = list(enumerate(zip(found.rows, found.trials, strict=True), 1))[::-1]
    return {
        "search": search,
        "status": service.status(search),
        "is_final": is_final,
        "results": found,
        "metric": results.METRICS[found.plan.metric],
        "titles": {name: title_of(name) for name in found.plan.space},
        "charts": results.charts(found),
        "numbered": numbered if is_final else numbered[:TRIALS_SHOWN_LIVE],
    }


@bp.post("/<int:search_id>/cancel")
@allow("researcher")
def cancel(search_id: int) -> BaseResponse:
    service.cancel(service.get(search_id), actor().user)
    return redirect(url_for("searches.detail", search_id=search_id))

"""Learning-rate range tests: the list, and watching one. A new one begins on the form of a new experiment."""

from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.wrappers import Response as BaseResponse

from ml.rate_curve import LEAST_FALL
from webapp import queue, waiting
from webapp.models import FINAL_STATUSES, RateSearch
from webapp.pagination import page_of
from webapp.rates import service
from webapp.security import actor, allow

bp = Blueprint("rates", __name__, url_prefix="/learning-rates")


@bp.get("/")
@allow("viewer")
def index() -> str:
    statement = select(RateSearch).options(joinedload(RateSearch.dataset))
    return render_template("rates/index.html", page=page_of(statement, RateSearch, cursor=request.args.get("cursor")))


@bp.get("/<int:rate_search_id>")
@allow("viewer")
def detail(rate_search_id: int) -> str:
    return render_template("rates/detail.html", **_live(service.get(rate_search_id)))


@bp.get("/<int:rate_search_id>/live")
@allow("viewer")
def live(rate_search_id: int) -> str:
    return render_template("rates/_live.html", **_live(service.get(rate_search_id)))


def _live(row: RateSearch) -> dict[str, Any]:
    return {
        "search": row,
        "is_final": row.status in FINAL_STATUSES,
        "position": waiting.place(queue.FIND_RATE, row),
        "chart": {"kind": "rates", **row.curve} if row.curve else None,
        "least_fall": LEAST_FALL,
    }


@bp.post("/<int:rate_search_id>/cancel")
@allow("researcher")
def cancel(rate_search_id: int) -> BaseResponse:
    service.cancel(service.get(rate_search_id), actor().user)
    return redirect(url_for("rates.detail", rate_search_id=rate_search_id))

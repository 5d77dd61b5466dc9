"""Searches on the REST interface: for the learning rate of a configuration."""

from typing import Any

from flask import Blueprint, url_for
from sqlalchemy import select

from webapp.api import bodies
from webapp.api.schemas import NewExperiment, moment
from webapp.models import RateSearch
from webapp.pagination import page_of
from webapp.rates import service as rates
from webapp.security import actor, allow

bp = Blueprint("api_searches", __name__, url_prefix="/api/v1")
Json = dict[str, Any]
Accepted = tuple[Json, int]


def rate_search(row: RateSearch) -> Json:
    return {
        "id": row.id,
        "name": row.name,
        "dataset_id": row.dataset_id,
        "status": row.status,
        "progress": row.progress,
        "config": row.config,
        "curve": row.curve,
        "suggested_rate": rates.found(row).get("learning_rate"),
        "device": row.device,
        "failed_because": row.failed_because,
        "attempts": row.attempts,
        "created_at": moment(row.created_at),
        "finished_at": moment(row.finished_at),
        "url": url_for("api_searches.read_rate_search", rate_search_id=row.id),
    }


@bp.post("/learning-rate-searches")
@allow("researcher")
def create_rate_search() -> Accepted:
    wanted = bodies.body(NewExperiment)
    return rate_search(rates.create(wanted.dataset_id, wanted.name, wanted.config, actor().user)), 202


@bp.get("/learning-rate-searches")
@allow("viewer")
def list_rate_searches() -> Json:
    page = page_of(select(RateSearch), RateSearch, *bodies.page_arguments())
    return {"items": [rate_search(row) for row in page.items], "next": page.next}


@bp.get("/learning-rate-searches/<int:rate_search_id>")
@allow("viewer")
def read_rate_search(rate_search_id: int) -> Json:
    return rate_search(rates.get(rate_search_id))


@bp.post("/learning-rate-searches/<int:rate_search_id>/cancel")
@allow("researcher")
def cancel_rate_search(rate_search_id: int) -> Accepted:
    row = rates.get(rate_search_id)
    rates.cancel(row, actor().user)
    return rate_search(row), 202

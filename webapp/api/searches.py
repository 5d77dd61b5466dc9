"""Searches on the REST interface: for a learning rate, and for better settings."""

from typing import Any

from flask import Blueprint, url_for
from sqlalchemy import select

from ml.space import SENSIBLE, Plan
from webapp.api import bodies
from webapp.api.schemas import NewExperiment, moment
from webapp.models import RateSearch, Search
from webapp.pagination import page_of
from webapp.rates import service as rates
from webapp.searches import results
from webapp.searches import service as searches
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


class NewSearch(NewExperiment):
    plan: Plan


def search(row: Search) -> Json:
    found = results.of(row)
    return {
        "id": row.id,
        "name": row.name,
        "dataset_id": row.dataset_id,
        "status": searches.status(row),
        "failed_because": row.failed_because,
        "config": row.config,
        "plan": row.plan,
        "trials": [
            {
                "number": number,
                "experiment": experiment.id,
                "status": experiment.status,
                "state": trial.state,
                "values": trial.values,
                "score": trial.score,
                "pruned_epoch": experiment.pruned_epoch,
            }
            for number, (experiment, trial) in enumerate(zip(found.rows, found.trials, strict=True), 1)
        ],
        "best": found.best,
        "importance": found.importance,
        "created_at": moment(row.created_at),
        "finished_at": moment(row.finished_at),
        "url": url_for("api_searches.read_search", search_id=row.id),
    }


@bp.get("/search-space")
@allow("viewer")
def search_space() -> Json:
    """The settings that a search may vary, each with its sensible values."""
    return {name: dimension.model_dump(mode="json", exclude_defaults=True) for name, dimension in SENSIBLE.items()}


@bp.post("/searches")
@allow("researcher")
def create_search() -> Accepted:
    wanted = bodies.body(NewSearch)
    row = searches.create(wanted.dataset_id, wanted.name, wanted.config, wanted.plan, actor().user)
    return search(row), 202


@bp.get("/searches")
@allow("viewer")
def list_searches() -> Json:
    page = page_of(select(Search), Search, *bodies.page_arguments())
    return {"items": [search(row) for row in page.items], "next": page.next}


@bp.get("/searches/<int:search_id>")
@allow("viewer")
def read_search(search_id: int) -> Json:
    return search(searches.get(search_id))


@bp.post("/searches/<int:search_id>/cancel")
@allow("researcher")
def cancel_search(search_id: int) -> Accepted:
    row = searches.get(search_id)
    searches.cancel(row, actor().user)
    return search(row), 202

"""Searches on the REST interface: for a learning rate, and for better settings."""

from typing import Annotated, Any

from flask import Blueprint, url_for
from sqlalchemy import select
from typing_extensions import TypedDict

from ml.rate_curve import RateCurve
from ml.space import SENSIBLE, Dimension, Plan
from webapp.api import sent
from webapp.api.answers import Configuration, JobStatus
from webapp.api.bodies import asks, takes
from webapp.api.schemas import moment
from webapp.api.shapes import Accepted, Dumped, Moment, Page, Probability
from webapp.models import RateSearch, Search
from webapp.pagination import page_of
from webapp.rates import service as rates
from webapp.searches import results
from webapp.searches import service as searches
from webapp.security import actor, allow

bp = Blueprint("api_searches", __name__, url_prefix="/api/v1")


class FoundRate(TypedDict):
    """A learning-rate range test; `curve` and a suggestion where it has ended well."""

    id: int
    name: str
    dataset_id: int
    status: JobStatus
    progress: Probability
    config: Configuration
    curve: Annotated[dict[str, Any], Dumped(RateCurve)] | None
    suggested_rate: float | None
    device: str | None
    failed_because: str | None
    attempts: int
    created_at: Moment
    finished_at: Moment | None
    url: str


class FoundTrial(TypedDict):
    number: int
    experiment: int
    status: JobStatus
    state: str
    values: dict[str, Any]
    score: float | None
    pruned_epoch: int | None


class FoundSettings(TypedDict):
    """A search for better settings: its trials in their order, the number of the best, what each setting mattered.

    That, `importance`, takes long to find: it is null in lists.
    """

    id: int
    name: str
    dataset_id: int
    status: str
    failed_because: str | None
    config: Configuration
    plan: Annotated[dict[str, Any], Dumped(Plan)]
    trials: list[FoundTrial]
    best: int | None
    importance: dict[str, float] | None
    created_at: Moment
    finished_at: Moment | None
    url: str


Dimensions = dict[str, Annotated[dict[str, Any], Dumped(Dimension)]]


def rate_search(row: RateSearch) -> FoundRate:
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
@takes(sent.NewExperiment)
def create_rate_search(wanted: sent.NewExperiment) -> Accepted[FoundRate]:
    return rate_search(rates.create(wanted.dataset_id, wanted.name, wanted.config, actor().user)), 202


@bp.get("/learning-rate-searches")
@allow("viewer")
@asks(sent.PageArguments)
def list_rate_searches(asked: sent.PageArguments) -> Page[FoundRate]:
    page = page_of(select(RateSearch), RateSearch, asked.limit, asked.cursor)
    return {"items": [rate_search(row) for row in page.items], "next": page.next}


@bp.get("/learning-rate-searches/<int:rate_search_id>")
@allow("viewer")
def read_rate_search(rate_search_id: int) -> FoundRate:
    return rate_search(rates.get(rate_search_id))


@bp.post("/learning-rate-searches/<int:rate_search_id>/cancel")
@allow("researcher")
def cancel_rate_search(rate_search_id: int) -> Accepted[FoundRate]:
    row = rates.get(rate_search_id)
    rates.cancel(row, actor().user)
    return rate_search(row), 202


def search(row: Search, is_whole: bool = True) -> FoundSettings:
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
        "importance": found.importance if is_whole else None,
        "created_at": moment(row.created_at),
        "finished_at": moment(row.finished_at),
        "url": url_for("api_searches.read_search", search_id=row.id),
    }


@bp.get("/search-space")
@allow("viewer")
def search_space() -> Dimensions:
    """The settings that a search may vary, by name, each with its sensible values."""
    return {name: dimension.model_dump(mode="json", exclude_defaults=True) for name, dimension in SENSIBLE.items()}


@bp.post("/searches")
@allow("researcher")
@takes(sent.NewSearch)
def create_search(wanted: sent.NewSearch) -> Accepted[FoundSettings]:
    row = searches.create(wanted.dataset_id, wanted.name, wanted.config, wanted.plan, actor().user)
    return search(row), 202


@bp.get("/searches")
@allow("viewer")
@asks(sent.PageArguments)
def list_searches(asked: sent.PageArguments) -> Page[FoundSettings]:
    page = page_of(select(Search), Search, asked.limit, asked.cursor)
    return {"items": [search(row, is_whole=False) for row in page.items], "next": page.next}


@bp.get("/searches/<int:search_id>")
@allow("viewer")
def read_search(search_id: int) -> FoundSettings:
    return search(searches.get(search_id))


@bp.post("/searches/<int:search_id>/cancel")
@allow("researcher")
def cancel_search(search_id: int) -> Accepted[FoundSettings]:
    row = searches.get(search_id)
    searches.cancel(row, actor().user)
    return search(row), 202

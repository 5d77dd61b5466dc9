"""Version 1 of the REST interface, on answers of the past: their history, their truth, their drift."""

from typing import Any

from flask import Blueprint, request
from pydantic import Field, model_validator

from ml.config import Frozen
from webapp.api import bodies
from webapp.api.schemas import moment
from webapp.models import MAX_ID, Feedback, Prediction
from webapp.predictions import drift, feedback, history
from webapp.predictions.feedback import MOST, SCORES
from webapp.registry import service as registry
from webapp.security import actor, allow

bp = Blueprint("watching_api", __name__, url_prefix="/api/v1")
Json = dict[str, Any]


class Truth(Frozen):
    request_id: str = Field(max_length=64)
    image: int = Field(0, ge=0, le=MAX_ID, description="Place of the image within its request")
    truth: str = Field(max_length=200)


class Truths(Frozen):
    """One truth by itself, or several as `items`."""

    items: list[Truth] = Field(min_length=1, max_length=MOST)

    @model_validator(mode="before")
    @classmethod
    def _one_is_several(cls, given: Any) -> Any:
        return {"items": [given]} if isinstance(given, dict) and "items" not in given else given


@bp.get("/predictions")
@allow("viewer")
def list_predictions() -> Json:
    page = history.page(history.wanted(request.args), *bodies.page_arguments())
    return {"items": [_answer(row) for row in page.items], "next": page.next}


@bp.post("/feedback")
@allow("viewer", scope="predict")
def give_feedback() -> Json:
    """The truth of one answered image, or of several as `items`; all of it is kept, or none."""
    truths = [feedback.Truth(**vars(item)) for item in bodies.body(Truths).items]
    return {"items": [_told(row) for row in feedback.give(truths, actor().user)]}


@bp.get("/versions/<int:version_id>/watching")
@allow("viewer")
def watch_version(version_id: int) -> Json:
    """How right the answers were where the truth is known, and how each window drifted from validation."""
    version = registry.get(version_id)
    live, watched = next(iter(feedback.live_scores(version.id)), None), drift.watch(version)
    scores = {name: getattr(live, name) for name in SCORES} if live else {}
    return {
        "version": version.id,
        "feedback": live.n if live else 0,
        "live": {name: score and score.model_dump() for name, score in scores.items()},
        "validation_images": watched.reference.n if watched.reference else None,
        "drift": {window: one.model_dump() for window, one in watched.drifts.items()},
    }


def _answer(row: Prediction) -> Json:
    return {
        "id": row.id,
        "request_id": row.request_id,
        "image": row.place,
        "image_sha256": row.image_sha256,
        "version": row.version_id,
        "label": row.label,
        "decision": row.label,
        "probability": row.probability,
        "probabilities": row.probabilities,
        "truth": row.feedback.truth if row.feedback else None,
        "user": {"id": row.user_id, "email": row.user.email},
        "token": {"id": row.token.id, "name": row.token.name} if row.token else None,
        "latency_ms": row.latency_ms,
        "created_at": moment(row.created_at),
    }


def _told(row: Feedback) -> Json:
    answer = row.prediction
    return {
        "request_id": answer.request_id,
        "image": answer.place,
        "version": answer.version_id,
        "label": answer.label,
        "truth": row.truth,
    }

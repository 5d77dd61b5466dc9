"""Version 1 of the REST interface, on answers of the past: their history, their truth, their drift."""

from typing import Annotated, Any

from flask import Blueprint
from typing_extensions import TypedDict

from ml.config import Variant
from ml.drift import Drift
from ml.incoming import Moved, Outside
from ml.intervals import Score
from webapp.api import sent
from webapp.api.bodies import asks, takes
from webapp.api.schemas import moment
from webapp.api.shapes import Dumped, Moment, Page, Probability
from webapp.models import Feedback, Prediction
from webapp.predictions import drift, feedback, history, incoming
from webapp.predictions.feedback import SCORES
from webapp.registry import service as registry
from webapp.security import actor, allow

bp = Blueprint("api_watching", __name__, url_prefix="/api/v1")


class Account(TypedDict):
    id: int
    email: str


class Token(TypedDict):
    id: int
    name: str


class GivenAnswer(TypedDict):
    """An answer of the past; without a label where the image lay outside the domain, a decision where it abstained."""

    id: int
    request_id: str
    image: int
    image_sha256: str
    version: int
    variant: Variant
    label: str | None
    decision: str | None
    abstained: bool
    probability: Probability | None
    probabilities: dict[str, Probability]
    truth: str | None
    user: Account
    token: Token | None
    latency_ms: float
    created_at: Moment


class Told(TypedDict):
    """The truth of one answered image, beside the answer."""

    request_id: str
    image: int
    version: int
    label: str | None
    truth: str


class AllTold(TypedDict):
    items: list[Told]


class Watching(TypedDict):
    """How right the answers were where the truth is known, and how each window drifted from validation.

    Of a version without a guard `outside` and `features` are empty.
    """

    version: int
    feedback: int
    live: dict[str, Annotated[dict[str, Any], Dumped(Score)] | None]
    validation_images: int | None
    drift: dict[str, Annotated[dict[str, Any], Dumped(Drift)]]
    outside: dict[str, Annotated[dict[str, Any], Dumped(Outside)]]
    features: dict[str, dict[str, Annotated[dict[str, Any], Dumped(Moved)]]]


@bp.get("/predictions")
@allow("viewer")
@asks(sent.AnswerArguments)
def list_predictions(asked: sent.AnswerArguments) -> Page[GivenAnswer]:
    """The answers that were given, newest first."""
    page = history.page(asked.wanted(), asked.limit, asked.cursor)
    return {"items": [_answer(row) for row in page.items], "next": page.next}


@bp.post("/feedback")
@allow("viewer", scope="predict")
@takes(sent.Truths)
def give_feedback(given: sent.Truths) -> AllTold:
    """The truth of one answered image, or of several as `items`; all of it is kept, or none."""
    truths = [feedback.Truth(**vars(item)) for item in given.items]
    return {"items": [_told(row) for row in feedback.give(truths, actor().user)]}


@bp.get("/versions/<int:version_id>/watching")
@allow("viewer")
def watch_version(version_id: int) -> Watching:
    """How right the answers were where the truth is known, and how each window drifted from validation."""
    version = registry.get(version_id)
    live, watched = next(iter(feedback.live_scores(version.id)), None), drift.watch(version)
    came = incoming.watch(version)
    scores = {name: getattr(live, name) for name in SCORES} if live else {}
    return {
        "version": version.id,
        "feedback": live.n if live else 0,
        "live": {name: score and score.model_dump() for name, score in scores.items()},
        "validation_images": watched.reference.n if watched.reference else None,
        "drift": {window: one.model_dump() for window, one in watched.drifts.items()},
        "outside": {window: one.model_dump() for window, one in came.outside.items()},
        "features": {
            window: {kind: one.model_dump() for kind, one in kinds.items()} for window, kinds in came.moved.items()
        },
    }


def _answer(row: Prediction) -> GivenAnswer:
    return {
        "id": row.id,
        "request_id": row.request_id,
        "image": row.place,
        "image_sha256": row.image_sha256,
        "version": row.version_id,
        "variant": row.variant,
        "label": row.label,
        "decision": None if row.is_abstained else row.label,
        "abstained": row.is_abstained,
        "probability": row.probability,
        "probabilities": row.probabilities,
        "truth": row.feedback.truth if row.feedback else None,
        "user": {"id": row.user_id, "email": row.user.email},
        "token": {"id": row.token.id, "name": row.token.name} if row.token else None,
        "latency_ms": row.latency_ms,
        "created_at": moment(row.created_at),
    }


def _told(row: Feedback) -> Told:
    answer = row.prediction
    return {
        "request_id": answer.request_id,
        "image": answer.place,
        "version": answer.version_id,
        "label": answer.label,
        "truth": row.truth,
    }

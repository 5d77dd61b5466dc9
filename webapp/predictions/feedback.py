"""The truth of answered images, as clients learn it later, and how right the answers were."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from ml.intervals import Score, proportion
from webapp import audit
from webapp.errors import AppError, Conflict, Forbidden, Invalid, NotFound
from webapp.models import Feedback, ModelVersion, Prediction, User, db
from webapp.predictions.journal import journal

MOST = 200  # truths at once
WAIT_S = 1.0
SCORES = ("accuracy", "sensitivity", "specificity")
Cell = tuple[str, str, int]  # answer, truth, and how many images have both


@dataclass(frozen=True)
class Truth:
    """The class that an image of a request has; `image` is its place within the request, from 0."""

    request_id: str
    image: int
    truth: str


@dataclass(frozen=True)
class LiveScores:
    """How right a version was on the answered images whose truth is known; sensitivity needs a positive class."""

    version: ModelVersion
    n: int
    accuracy: Score
    sensitivity: Score | None
    specificity: Score | None


def give(truths: Sequence[Truth], user: User) -> list[Feedback]:
    """The feedback on each image: all of it is kept, or none. A later truth replaces an earlier one.

    Raises NotFound, Forbidden, Conflict, Invalid, which name the place of the first truth at fault where there are
    several.
    """
    journal().flush(WAIT_S)  # a client may know the truth at once
    kept = []
    for number, truth in enumerate(truths):
        try:
            kept.append(_keep(_answered(truth, user), truth.truth, user))
        except AppError as error:
            db.session.rollback()
            if len(truths) > 1:
                error.args = (f"Nothing is kept. Of the truth at place {number}: {error}",)
            raise
    db.session.commit()
    return kept


def _answered(truth: Truth, user: User) -> Prediction:
    """The answer that the truth is about. Raises NotFound, Forbidden, Conflict."""
    named = select(Prediction).where(Prediction.request_id == truth.request_id, Prediction.place == truth.image)
    own = named.where(Prediction.user_id == user.id)  # who else used this id, and how often, is of no matter
    mine = list(db.session.scalars(own.order_by(Prediction.id.desc()).limit(100)))
    name = f"image {truth.image} of request '{truth.request_id}'"
    if not mine and db.session.scalar(named.limit(1)):
        raise Forbidden(f"Another account asked for {name}; only who asked may tell its truth.")
    if not mine:
        raise NotFound(f"There is no answer for {name}. An answer can be found a second after it was given.")
    if len({row.image_sha256 for row in mine}) > 1:
        raise Conflict(
            f"You used the id of {name} for different images, so it is not known which one is meant. "
            "Give each request an id of its own."
        )
    return mine[0]


def _keep(answer: Prediction, truth: str, user: User) -> Feedback:
    if truth not in answer.version.classes:
        known = ", ".join(answer.version.classes[:20])
        raise Invalid(
            f"Version {answer.version_id} has no class '{truth[:100]}'; it has {known}.", {"truth": "no such class"}
        )
    row = answer.feedback
    if row is None:
        row = answer.feedback = Feedback(user_id=user.id, truth=truth)
    elif row.truth != truth:
        audit.record("feedback.replace", row, user, prediction=answer.id, before=row.truth, after=truth)
        row.truth, row.user_id = truth, user.id
    db.session.flush()
    return row


def live_scores(version_id: int | None = None) -> list[LiveScores]:
    """The scores of the version, or of each that has feedback, newest first."""
    told = (
        select(Prediction.version_id, Prediction.label, Feedback.truth, func.count())
        .join(Feedback.prediction)
        .where(Prediction.is_abstained.is_(False))  # without a decision nothing was right or wrong
        .group_by(Prediction.version_id, Prediction.label, Feedback.truth)
    )
    if version_id is not None:
        told = told.where(Prediction.version_id == version_id)
    cells: dict[int, list[Cell]] = {}
    for found_id, label, truth, count in db.session.execute(told):
        cells.setdefault(found_id, []).append((str(label), truth, count))
    newest_first = select(ModelVersion).where(ModelVersion.id.in_(cells)).order_by(ModelVersion.id.desc())
    return [_scores(version, cells[version.id]) for version in db.session.scalars(newest_first)]


def _scores(version: ModelVersion, cells: list[Cell]) -> LiveScores:
    positive = version.positive_class
    return LiveScores(
        version=version,
        n=sum(count for _, _, count in cells),
        accuracy=_right(cells),
        sensitivity=_right([cell for cell in cells if cell[1] == positive]) if positive else None,
        specificity=_right([cell for cell in cells if cell[1] != positive]) if positive else None,
    )


def _right(cells: list[Cell]) -> Score:
    return proportion(sum(count for label, truth, count in cells if label == truth), sum(cell[2] for cell in cells))

"""The dashboard, and what every page shares."""

import datetime

from flask import Blueprint, Flask, render_template
from sqlalchemy import func, select

from webapp import formats
from webapp.experiments import service as experiments
from webapp.models import Dataset, Experiment, ModelVersion, Prediction, db, now
from webapp.predictions.active import active_model
from webapp.registry import service as registry
from webapp.security import allow

bp = Blueprint("pages", __name__)


def init_app(app: Flask) -> None:
    formats.init_app(app)


@bp.get("/")
@allow("viewer")
def dashboard() -> str:
    activation = registry.active()
    evaluation = registry.test_evaluation(activation.version) if activation else None
    return render_template(
        "dashboard.html",
        activation=activation,
        evaluation=evaluation,
        fault=active_model().fault,
        counts=_counts(),
        recent=experiments.newest(6),
    )


def _counts() -> dict[str, int]:
    """What there is: data sets that are ready, experiments under way, versions, answers of the last day."""
    day_ago = now() - datetime.timedelta(days=1)
    statements = {
        "datasets": select(func.count()).select_from(Dataset).where(Dataset.status == "ready"),
        "pending": select(func.count()).select_from(Dataset).where(Dataset.status == "pending"),
        "experiments": select(func.count()).select_from(Experiment),
        "under_way": select(func.count())
        .select_from(Experiment)
        .where(Experiment.status.in_(("queued", "running", "cancelling"))),
        "versions": select(func.count()).select_from(ModelVersion),
        "predictions": select(func.count()).select_from(Prediction).where(Prediction.created_at > day_ago),
    }
    return {name: db.session.scalar(statement) or 0 for name, statement in statements.items()}

"""The trials of a search as the science sees them: read from the experiments and their epochs, which are the truth."""

from sqlalchemy import select
from sqlalchemy.orm import selectinload

from ml.progress import EpochResult
from ml.selection import best_epoch
from ml.space import Plan, State, Trial, values_of
from webapp.models import FINAL_STATUSES, Dataset, Epoch, Experiment, Search, db

COLUMNS = {"auc": "validation_auc", "accuracy": "validation_accuracy", "loss": "validation_loss"}


def rows_of(search: Search) -> list[Experiment]:
    """The experiments, by number, with their epochs; read anew."""
    statement = select(Experiment).where(Experiment.search_id == search.id).order_by(Experiment.trial)
    read_anew = {"populate_existing": True}
    return list(db.session.scalars(statement.options(selectinload(Experiment.epochs)), execution_options=read_anew))


def of(search: Search, rows: list[Experiment]) -> list[Trial]:
    """The trials of these rows. One that its search gave up is `pruned`, one that a person cancelled has `failed`."""
    plan, images = Plan.model_validate(search.plan), _validation_images(search.dataset)
    return [_trial(row, plan, images) for row in rows]


def _trial(row: Experiment, plan: Plan, images: int) -> Trial:
    column = COLUMNS[plan.metric]
    scores = {epoch.number: getattr(epoch, column) for epoch in row.epochs}
    scores = {number: score for number, score in scores.items() if score is not None}
    values, state, score = values_of(row.config, plan.space), _state(row), None
    if state == "finished":
        score = scores.get(best_epoch([_result(epoch) for epoch in row.epochs], images))
    return Trial(values, state if score is not None or state != "finished" else "failed", scores, score)


def _state(row: Experiment) -> State:
    if row.status == "succeeded":
        return "finished"
    if row.status == "cancelled" and row.pruned_epoch is not None:
        return "pruned"
    return "failed" if row.status in FINAL_STATUSES else "running"


def _result(epoch: Epoch) -> EpochResult:
    return EpochResult.model_validate({name: getattr(epoch, name) for name in EpochResult.model_fields})


def _validation_images(dataset: Dataset) -> int:
    return sum(entry["validation"] for entry in dataset.classes)

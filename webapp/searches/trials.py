"""The trials of a search as the science sees them: read from the experiments and their epochs, which are the truth."""

from collections import defaultdict

from sqlalchemy import select

from ml.progress import EpochResult
from ml.selection import best_epoch
from ml.space import Plan, State, Trial, values_of
from webapp.models import FINAL_STATUSES, Dataset, Epoch, Experiment, Search, db

COLUMNS = {"auc": "validation_auc", "accuracy": "validation_accuracy", "loss": "validation_loss"}


def rows_of(search: Search) -> list[Experiment]:
    """The experiments, by number; read anew."""
    statement = select(Experiment).where(Experiment.search_id == search.id).order_by(Experiment.trial)
    return list(db.session.scalars(statement, execution_options={"populate_existing": True}))


def of(search: Search, rows: list[Experiment]) -> list[Trial]:
    """The trials of these rows. One that its search gave up is `pruned`, one that a person cancelled has `failed`."""
    plan, images, epochs = Plan.model_validate(search.plan), _validation_images(search.dataset), _epochs_of(search)
    return [_trial(row, epochs[row.id], plan, images) for row in rows]


def _epochs_of(search: Search) -> dict[int, list[EpochResult]]:
    """By the id of the experiment. Plain columns: a search may have tens of thousands of epochs."""
    columns = [getattr(Epoch, name) for name in EpochResult.model_fields]
    statement = select(Epoch.experiment_id, *columns).join(Epoch.experiment).where(Experiment.search_id == search.id)
    found: dict[int, list[EpochResult]] = defaultdict(list)
    for experiment_id, *values in db.session.execute(statement.order_by(Epoch.number)):
        known = zip(EpochResult.model_fields, values, strict=True)
        found[experiment_id].append(EpochResult.model_construct(**dict(known)))
    return found


def _trial(row: Experiment, epochs: list[EpochResult], plan: Plan, images: int) -> Trial:
    scores = {epoch.number: getattr(epoch, COLUMNS[plan.metric]) for epoch in epochs}
    scores = {number: score for number, score in scores.items() if score is not None}
    values, state, score = values_of(row.config, plan.space), _state(row), None
    if state == "finished" and epochs:
        score = scores.get(best_epoch(epochs, images))
    return Trial(values, state if score is not None or state != "finished" else "failed", scores, score)


def _state(row: Experiment) -> State:
    if row.status == "succeeded":
        return "finished"
    if row.status == "cancelled" and row.pruned_epoch is not None:
        return "pruned"
    return "failed" if row.status in FINAL_STATUSES else "running"


def _validation_images(dataset: Dataset) -> int:
    return sum(entry["validation"] for entry in dataset.classes)

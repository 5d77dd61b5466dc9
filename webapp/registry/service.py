"""Model versions: which there are, which one serves, and how they score."""

from typing import Any

from sqlalchemy import select

from ml.config import VARIANTS, Variant
from webapp import audit, queue
from webapp.datasets import service as datasets
from webapp.errors import Conflict, Invalid, NotFound
from webapp.models import EVALUATED_SPLITS, Activation, Dataset, Evaluation, ModelVersion, User, db, find

REASON_LENGTH = 2000


def get(version_id: int) -> ModelVersion:
    """The version. Raises NotFound."""
    version = find(ModelVersion, version_id)
    if version is None:
        raise NotFound(f"There is no version {version_id}.")
    return version


def newest(limit: int = 200) -> list[ModelVersion]:
    return list(db.session.scalars(select(ModelVersion).order_by(ModelVersion.id.desc()).limit(limit)))


def active() -> Activation | None:
    """The activation in force: the newest one."""
    return db.session.scalar(select(Activation).order_by(Activation.id.desc()).limit(1))


def variants(version: ModelVersion) -> list[Variant]:
    """Those that may serve, the exact one first."""
    found = version.card.get("variants")
    return list(VARIANTS) if found and found["refused_because"] is None else ["float32"]


def activate(
    version: ModelVersion, reason: str, user: User, variant: Variant = "float32", is_rollback: bool = False
) -> Activation:
    """Makes the version the one that serves. Append-only: the history stays. Raises Invalid, Conflict."""
    if variant not in variants(version):
        found = version.card.get("variants")
        because = found["refused_because"] if found else "It was exported without one."
        raise Conflict(f"Version {version.id} does not serve as '{variant[:20]}'. {because} Activate it as 'float32'.")
    reason = " ".join(reason.split())
    if not 1 <= len(reason) <= REASON_LENGTH or not reason.isprintable():
        raise Invalid(
            f"Say why in 1 to {REASON_LENGTH} printable characters; the reason is kept with the activation.",
            {"reason": f"1 to {REASON_LENGTH} characters"},
        )
    activation = Activation(version=version, variant=variant, user=user, reason=reason, is_rollback=is_rollback)
    db.session.add(activation)
    action = "version.rollback" if is_rollback else "version.activate"
    audit.record(action, version, user, reason=reason, variant=variant)
    db.session.commit()
    return activation


def rollback(reason: str, user: User) -> Activation:
    """Activates what served before, in its variant. Raises Conflict where there was nothing."""
    current = active()
    previous = _before(current) if current else None
    if previous is None:
        raise Conflict("There is no earlier version to roll back to.")
    return activate(previous.version, reason, user, previous.variant, is_rollback=True)


def _before(current: Activation) -> Activation | None:
    """The activation to return to: rolling back twice goes back two versions, not to and fro."""
    trail: list[Activation] = []
    for activation in db.session.scalars(select(Activation).order_by(Activation.id)):
        if activation.is_rollback:
            while trail and not _is_same(trail[-1], activation):
                trail.pop()
        elif not trail or not _is_same(trail[-1], activation):
            trail.append(activation)
    return trail[-2] if len(trail) > 1 else None


def _is_same(one: Activation, other: Activation) -> bool:
    """Whether the same graph serves by both."""
    return (one.version_id, one.variant) == (other.version_id, other.variant)


def history(limit: int = 50) -> list[Activation]:
    return list(db.session.scalars(select(Activation).order_by(Activation.id.desc()).limit(limit)))


def start_evaluation(version_id: int, dataset_id: int, split: str, user: User, is_stressed: bool = False) -> Evaluation:
    """A queued evaluation; where `is_stressed`, of changed images as well. Raises NotFound, Conflict, Invalid."""
    version, dataset = get(version_id), datasets.get_ready(dataset_id)
    if split not in EVALUATED_SPLITS:
        raise Invalid(
            f"The split is '{split}'; it must be one of {', '.join(EVALUATED_SPLITS)}.", {"split": "no such split"}
        )
    names = [entry["name"] for entry in dataset.classes]
    if names != version.classes:
        raise Conflict(
            f"Version {version.id} knows the classes {', '.join(version.classes)}; "
            f"data set {dataset.id} has {', '.join(names)}. They must be the same."
        )
    evaluation = Evaluation(
        version=version, dataset=dataset, split=split, is_stressed=is_stressed, created_by_id=user.id
    )
    db.session.add(evaluation)
    audit.record("evaluation.create", evaluation, user, version=version.id, dataset=dataset.id, split=split)
    db.session.commit()
    queue.ring(queue.EVALUATE, evaluation.id)
    return evaluation


def fitting_datasets(version: ModelVersion) -> list[Dataset]:
    """The ready data sets of the version's classes, newest first."""
    return [dataset for dataset in datasets.ready() if [entry["name"] for entry in dataset.classes] == version.classes]


def get_evaluation(evaluation_id: int) -> Evaluation:
    """The evaluation. Raises NotFound."""
    evaluation = find(Evaluation, evaluation_id)
    if evaluation is None:
        raise NotFound(f"There is no evaluation {evaluation_id}.")
    return evaluation


def evaluation_of(version_id: int, evaluation_id: int) -> Evaluation:
    """The evaluation, which must be one of that version. Raises NotFound."""
    evaluation = get_evaluation(evaluation_id)
    if evaluation.version_id != version_id:
        raise NotFound(f"Version {version_id} has no evaluation {evaluation_id}; it is one of {evaluation.version_id}.")
    return evaluation


def stressed_evaluation(version: ModelVersion) -> Evaluation | None:
    """The version's newest robustness, on whichever images."""
    statement = select(Evaluation).where(Evaluation.version_id == version.id, Evaluation.robustness.is_not(None))
    return db.session.scalar(statement.order_by(Evaluation.id.desc()).limit(1))


def test_evaluation(version: ModelVersion) -> Evaluation | None:
    """The version's first finished evaluation on the test split of the data that it was trained on."""
    statement = select(Evaluation).where(
        Evaluation.version_id == version.id,
        Evaluation.dataset_id == version.experiment.dataset_id,
        Evaluation.split == "test",
        Evaluation.status == "succeeded",
    )
    return db.session.scalar(statement.order_by(Evaluation.id).limit(1))


def test_metrics(version: ModelVersion) -> dict[str, Any] | None:
    """The scores on the test split: of the evaluation, or those that the version was made with."""
    evaluation = test_evaluation(version)
    metrics: dict[str, Any] | None = evaluation.metrics if evaluation else version.card.get("metrics")
    return metrics


def evaluations(version: ModelVersion) -> list[Evaluation]:
    statement = select(Evaluation).where(Evaluation.version_id == version.id)
    return list(db.session.scalars(statement.order_by(Evaluation.id.desc())))

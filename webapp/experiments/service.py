"""Experiments: queued, watched, cancelled, resumed."""

from sqlalchemy import select, update

from ml.config import TrainConfig
from webapp import audit, queue
from webapp.cancelling import cancel as cancel
from webapp.datasets import service as datasets
from webapp.errors import Conflict, Invalid, NotFound
from webapp.models import Experiment, ModelVersion, User, db, find
from webapp.studies import members

AGAIN = " (again)"


def create(dataset_id: int, name: str, config: TrainConfig, user: User) -> Experiment:
    """A queued experiment. Raises NotFound, Conflict, Invalid."""
    dataset = datasets.get_ready(dataset_id)
    check_initial_weights(config)
    experiment = Experiment(
        name=datasets.clean_name(name), dataset=dataset, config=config.model_dump(mode="json"), created_by=user
    )
    db.session.add(experiment)
    audit.record("experiment.create", experiment, user, dataset=dataset.id, network=config.network)
    db.session.commit()
    queue.ring(queue.TRAIN, experiment.id)
    return experiment


def check_initial_weights(config: TrainConfig) -> None:
    kind, _, number = config.initial_weights.partition(":")
    if kind != "version":
        return
    version = find(ModelVersion, int(number))
    if version is None:
        raise Invalid(f"There is no version {number} to start from.", {"config.initial_weights": "no such version"})
    if version.network != config.network:
        raise Invalid(
            f"Version {number} is a '{version.network}', the experiment asks for a '{config.network}'.",
            {"config.initial_weights": f"a version of '{config.network}' is needed"},
        )


def run_again(experiment: Experiment, user: User) -> Experiment:
    """A queued experiment of the same configuration on the same version of the data, in as many threads as the first.

    Raises Conflict, Invalid.
    """
    if experiment.status != "succeeded":
        raise Conflict(
            f"Experiment {experiment.id} is {experiment.status}; only one that has succeeded can be run again."
        )
    if members.fold_of(experiment):
        raise Conflict(
            f"Experiment {experiment.id} is a fold of study {experiment.study_id}: by itself it would be trained on "
            "the splits of the data set instead. Begin the study again on the form of a new experiment."
        )
    config = TrainConfig.model_validate(experiment.config)
    if experiment.version and experiment.version.card.get("threads"):
        config = config.model_copy(update={"threads": experiment.version.card["threads"]})
    plain = experiment.name.removesuffix(AGAIN)
    return create(experiment.dataset_id, plain[: 200 - len(AGAIN)] + AGAIN, config, user)


def get(experiment_id: int) -> Experiment:
    """The experiment. Raises NotFound."""
    experiment = find(Experiment, experiment_id)
    if experiment is None:
        raise NotFound(f"There is no experiment {experiment_id}.")
    return experiment


def resume(experiment: Experiment, user: User) -> None:
    """Queues an experiment that ended without a version, to go on from its last checkpoint. Raises Conflict."""
    statement = (
        update(Experiment)
        .where(Experiment.id == experiment.id, Experiment.status.in_(("failed", "cancelled")))
        .values(
            status="queued",
            failed_because=None,
            finished_at=None,
            losses=0,
            attempt_token=None,
            heartbeat_at=None,
            rung_at=None,
            phase="",
            **Experiment.between_attempts(),
        )
        .execution_options(synchronize_session="fetch")
    )
    if db.session.execute(statement).rowcount != 1:  # type: ignore[attr-defined]
        db.session.rollback()
        raise Conflict(
            f"Experiment {experiment.id} is {experiment.status}; only a failed or cancelled one can be resumed."
        )
    audit.record("experiment.resume", experiment, user, from_epoch=experiment.checkpoint_epoch)
    db.session.commit()
    queue.ring(queue.TRAIN, experiment.id)


def newest(limit: int) -> list[Experiment]:
    return list(db.session.scalars(select(Experiment).order_by(Experiment.id.desc()).limit(limit)))

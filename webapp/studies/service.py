"""Studies: one configuration trained k times, on folds or from several seeds; queued, watched, cancelled."""

from collections import Counter

from sqlalchemy import func, select

from ml import folding
from ml.config import TrainConfig
from ml.errors import BadConfig
from webapp import audit, queue
from webapp.datasets import contents
from webapp.datasets import service as datasets
from webapp.errors import Conflict, Invalid, NotFound
from webapp.experiments import service as experiments
from webapp.models import FINAL_STATUSES, STUDY_KINDS, Dataset, Experiment, Study, User, db, find, stop

LEAST, MOST = 2, 20
LARGEST_SEED = 2**31 - 1


def create(dataset_id: int, name: str, kind: str, k: int, config: TrainConfig, user: User) -> Study:
    """A study whose k members wait in the queue. Raises NotFound, Conflict, Invalid."""
    dataset = datasets.get_ready(dataset_id)
    name = datasets.clean_name(name)
    _check(dataset, kind, k, config)
    study = Study(name=name, dataset=dataset, kind=kind, k=k, config=config.model_dump(mode="json"), created_by=user)
    members = [
        Experiment(
            name=f"{name[:180]} ({'fold' if kind == 'folds' else 'seed'} {number} of {k})",
            dataset=dataset,
            config=_config(config, kind, number).model_dump(mode="json"),
            created_by=user,
            study=study,
            member=number,
        )
        for number in range(1, k + 1)
    ]
    db.session.add_all([study, *members])
    audit.record("study.create", study, user, dataset=dataset.id, kind=kind, k=k, network=config.network)
    db.session.commit()
    for member in members:
        queue.ring(queue.TRAIN, member.id)
    return study


def _config(config: TrainConfig, kind: str, number: int) -> TrainConfig:
    return config if kind == "folds" else config.model_copy(update={"seed": config.seed + number - 1})


def _check(dataset: Dataset, kind: str, k: int, config: TrainConfig) -> None:
    if kind not in STUDY_KINDS:
        raise Invalid(f"The kind is '{kind[:20]}'; it must be folds or seeds.", {"kind": "folds or seeds"})
    if not LEAST <= k <= MOST:
        raise Invalid(f"k is {k}; it must lie between {LEAST} and {MOST}.", {"k": f"{LEAST} to {MOST}"})
    experiments.check_initial_weights(config)
    if kind == "seeds":
        if config.seed + k - 1 > LARGEST_SEED:
            limit = LARGEST_SEED - k + 1
            raise Invalid(f"{k} seeds from {config.seed} on go too far.", {"config.seed": f"at most {limit}"})
        return
    if config.initial_weights.startswith("version:"):
        raise Invalid(
            "An earlier version may have seen images that a fold judges. Start folds from other weights.",
            {"config.initial_weights": "none, imagenet or a file"},
        )
    try:
        folding.of_images(contents.manifest_of(dataset), k, config.seed)
    except BadConfig as error:
        raise Invalid(str(error), {"k": "not with this data set"}) from error


def get(study_id: int) -> Study:
    """The study. Raises NotFound."""
    study = find(Study, study_id)
    if study is None:
        raise NotFound(f"There is no study {study_id}.")
    return study


def status(study: Study) -> str:
    """What its members make of it, in the words of an experiment's status; `running` as soon as one has begun."""
    return _status(Counter(member.status for member in study.members), study.k)


def by_status() -> Counter[str]:
    """How many studies have each status; no member is read for it."""
    statement = select(Study.id, Study.k, Experiment.status, func.count()).join(Study.members)
    members: dict[tuple[int, int], Counter[str]] = {}
    for study_id, k, status, count in db.session.execute(statement.group_by(Study.id, Study.k, Experiment.status)):
        members.setdefault((study_id, k), Counter())[status] = count
    return Counter(_status(found, k) for (_, k), found in members.items())


def _status(found: Counter[str], k: int) -> str:
    if set(found) <= set(FINAL_STATUSES):
        return next((one for one in ("failed", "cancelled") if found[one]), "succeeded")
    if found["cancelling"] or (found["cancelled"] and found["running"]):
        return "cancelling"
    return "queued" if found["queued"] == k else "running"


def is_final(study: Study) -> bool:
    """Whether no member waits or runs."""
    return all(member.status in FINAL_STATUSES for member in study.members)


def cancel(study: Study, user: User) -> None:
    """Stops every member that waits or runs, in one transaction. Raises Conflict where none does."""
    stopped = [member.id for member in study.members if stop(Experiment, member.id)]
    if not stopped:
        db.session.rollback()
        raise Conflict(f"Study {study.id} is over; only one with a waiting or running member can be cancelled.")
    audit.record("study.cancel", study, user, experiments=stopped)
    db.session.commit()

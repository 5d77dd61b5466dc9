"""Which member of a study an experiment is."""

from typing import Any

from ml.folding import Member
from ml.manifest import Manifest
from webapp.datasets import contents
from webapp.models import Dataset, Evaluation, Experiment


def of(experiment: Experiment) -> Member | None:
    """The membership, or None of an experiment by itself."""
    study: Any = experiment.study
    if study is None or experiment.member is None:
        return None
    return Member(study=study.id, kind=study.kind, number=experiment.member, k=study.k, seed=study.config["seed"])


def name_of(experiment: Experiment) -> str | None:
    """Such as "fold 2 of 5"; None of an experiment by itself."""
    member = of(experiment)
    return f"{'fold' if member.kind == 'folds' else 'seed'} {member.number} of {member.k}" if member else None


def fold_of(experiment: Experiment) -> tuple[int, int, int] | None:
    """Its number, k and the seed of the cut: on one data set equal ones judge the same images. None of no fold."""
    member = of(experiment)
    return (member.number, member.k, member.seed) if member and member.kind == "folds" else None


def fold_scored(evaluation: Evaluation) -> tuple[int, int, int] | None:
    """The fold whose split was scored; None where it is the data set's own, or all of its images."""
    experiment = evaluation.version.experiment
    is_of_fold = evaluation.dataset_id == experiment.dataset_id and evaluation.split != "all"
    return fold_of(experiment) if is_of_fold else None


def manifest_for(experiment: Experiment, dataset: Dataset) -> Manifest:
    """The images of a data set with their splits as the version of the experiment knows them.

    On the data that it was trained on these are those of its fold. Raises Conflict, MissingObject, DamagedObject.
    """
    is_own = dataset.id == experiment.dataset_id
    return contents.manifest_of(dataset, of(experiment) if is_own else None)

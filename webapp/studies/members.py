"""Which member of a study an experiment is."""

from typing import Any

from ml.folding import Member
from webapp.models import Experiment


def of(experiment: Experiment) -> Member | None:
    """The membership, or None of an experiment by itself."""
    study: Any = experiment.study
    if study is None or experiment.member is None:
        return None
    return Member(study=study.id, kind=study.kind, number=experiment.member, k=study.k, seed=study.config["seed"])

"""What a study tells of its scores: their spread over the finished members."""

from dataclasses import dataclass
from typing import Any

from ml.spread import Spread, spread
from webapp.models import Experiment, Study
from webapp.registry import service as registry

LOWEST = {
    "auc": 0.0,
    "accuracy": 0.0,
    "balanced_accuracy": 0.0,
    "sensitivity": 0.0,
    "specificity": 0.0,
    "ppv": 0.0,
    "npv": 0.0,
    "f1": 0.0,
    "average_precision": 0.0,
    "mcc": -1.0,
}


@dataclass(frozen=True)
class MemberResult:
    """A member, and its scores on its own test images once it has a version."""

    experiment: Experiment
    metrics: dict[str, Any] | None


@dataclass(frozen=True)
class Results:
    """The members in their order; the spread of each score that a finished one has."""

    members: list[MemberResult]
    finished: int
    spreads: dict[str, Spread]


def of(study: Study) -> Results:
    """What is known now; a study that still runs has the spread of the members that have ended."""
    members = [MemberResult(row, _metrics(row)) for row in study.members]
    scored = [one for one in members if one.metrics]
    share = _test_per_train(scored) if study.kind == "folds" else None
    spreads = {}
    for name, lowest in LOWEST.items():
        values = [one.metrics[name]["value"] for one in scored if one.metrics and name in one.metrics]
        defined = [value for value in values if value is not None]
        if defined:
            spreads[name] = spread(defined, lowest, share)
    return Results(members, len(scored), spreads)


def _metrics(experiment: Experiment) -> dict[str, Any] | None:
    tested = registry.test_evaluation(experiment.version) if experiment.version else None
    return tested.metrics if tested else None


def _test_per_train(members: list[MemberResult]) -> float:
    """Images that judge for each that trains, over the finished folds."""
    counts = [one.experiment.version.card["dataset"]["images"] for one in members if one.experiment.version]
    return sum(images["test"] for images in counts) / max(1, sum(images["train"] for images in counts))

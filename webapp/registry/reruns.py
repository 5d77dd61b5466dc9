"""Runs again: a version held against the first one that came from the same configuration and the same data."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select

from ml.config import TrainConfig
from webapp.models import Dataset, Experiment, ModelVersion, db
from webapp.registry import service
from webapp.studies import members


@dataclass(frozen=True)
class Rerun:
    """How a version compares with the `first` of its configuration and data.

    `differences` are the settings of the machine that differ: what, of the first run, of this one.
    """

    first: ModelVersion
    has_same_weights: bool
    has_same_metrics: bool | None  # None where one of them has no scores
    differences: list[tuple[str, str, str]]


def of(version: ModelVersion) -> Rerun | None:
    """The comparison with the first run; None where this is the first."""
    first = _first_run(version.experiment)
    if first is None:
        return None
    mine, other = service.test_metrics(version), service.test_metrics(first)
    weights = {row.files.get("state_dict.safetensors") for row in (version, first)}
    return Rerun(
        first=first,
        has_same_weights=len(weights) == 1 and None not in weights,
        has_same_metrics=mine == other if mine and other else None,
        differences=_differences(first.card, version.card),
    )


def _first_run(experiment: Experiment) -> ModelVersion | None:
    """The oldest version of an equal configuration on data of the same content, if it is older than this one's.

    Folds of one data set learn from other images each: only the same fold of the same cut is a run again.
    """
    config, fold = _settled(experiment.config), members.fold_of(experiment)
    earlier = (
        select(ModelVersion)
        .join(Experiment, ModelVersion.experiment_id == Experiment.id)
        .join(Dataset, Experiment.dataset_id == Dataset.id)
        .where(Dataset.sha256 == experiment.dataset.sha256, Experiment.id < experiment.id)
        .order_by(Experiment.id)
    )
    same_images = (row for row in db.session.scalars(earlier) if members.fold_of(row.experiment) == fold)
    fitting = (row for row in same_images if _settled(row.experiment.config) == config)
    return next(fitting, None)


def _settled(config: dict[str, Any]) -> TrainConfig | dict[str, Any]:
    """With the defaults of fields that a release added since; as it is where today's limits refuse it.

    Without the number of threads, which a run again takes from the card.
    """
    try:
        return TrainConfig.model_validate(config).model_copy(update={"threads": 0})
    except ValidationError:
        return config


def _differences(first: dict[str, Any], this: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Device, precision, code and packages, where both cards name them and they are not the same."""
    told = [(title, first.get(title.lower()), this.get(title.lower())) for title in ("Device", "Precision")]
    told.append(("Threads", str(first.get("threads") or ""), str(this.get("threads") or "")))
    told.append(("Compiled epochs", str(first.get("compiled_epochs", 0)), str(this.get("compiled_epochs", 0))))
    for title, name in (("Code", "commit"), ("Sources", "sources_sha256")):
        told.append((title, (first.get("code") or {}).get(name), (this.get("code") or {}).get(name)))
    before, after = first.get("packages") or {}, this.get("packages") or {}
    told += [(name, before.get(name), after.get(name)) for name in sorted(before | after)]
    return [(title, one, other) for title, one, other in told if one and other and one != other]

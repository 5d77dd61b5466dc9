"""What a report is made of: all that the rows and the card hold of a version, as it is now."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from webapp.models import Dataset, Evaluation, ModelVersion, db
from webapp.registry import breakdown, looks, partitions, reruns, rival, service, tuning
from webapp.registry.breakdown import Breakdown
from webapp.registry.looks import Ledger
from webapp.registry.partitions import Partitions
from webapp.registry.rival import Rival
from webapp.registry.tuning import Tuning
from webapp.studies import results as study_results
from webapp.studies.results import Results


@dataclass(frozen=True, kw_only=True)
class Material:
    """`metrics` are those of the test split, None where there are none; `external` are on data of other lines."""

    version: ModelVersion
    card: dict[str, Any]
    dataset: Dataset
    evaluation: Evaluation | None
    metrics: dict[str, Any] | None
    breakdown: Breakdown | None  # None where the answers for single images are not at hand
    partitions: Partitions
    level: str
    ledger: Ledger
    external: list[Evaluation]
    rerun: reruns.Rerun | None
    study: Results | None  # of a version that is one of several trainings: what all of them scored
    tuning: Tuning | None  # of a version whose settings a search chose
    rival: Rival | None  # None where no other version serves, and none is its parent
    stressed: Evaluation | None


def of(version: ModelVersion) -> Material:
    """Read anew, so that it holds every look at the test images until now."""
    experiment, evaluation = version.experiment, service.test_evaluation(version)
    found = partitions.of(experiment)
    return Material(
        version=version,
        card=version.card,
        dataset=experiment.dataset,
        evaluation=evaluation,
        metrics=service.test_metrics(version),
        breakdown=breakdown.of(evaluation),
        partitions=found,
        level=partitions.level(found),
        ledger=looks.ledger_of(experiment.dataset),
        external=_external(version),
        rerun=reruns.of(version),
        study=study_results.of(experiment.study) if experiment.study else None,
        tuning=tuning.of(experiment),
        rival=rival.of(version),
        stressed=service.stressed_evaluation(version),
    )


def _external(version: ModelVersion) -> list[Evaluation]:
    """The newest finished evaluation on each data set of another line."""
    statement = (
        select(Evaluation)
        .join(Dataset, Evaluation.dataset_id == Dataset.id)
        .where(
            Evaluation.version_id == version.id,
            Evaluation.status == "succeeded",
            Dataset.line != version.experiment.dataset.line,
        )
        .order_by(Evaluation.id)
    )
    return list({row.dataset_id: row for row in db.session.scalars(statement)}.values())

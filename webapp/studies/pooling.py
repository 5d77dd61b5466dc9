"""The pooled answers of folds: every image judged once, by the network that did not see it; and their scores."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select, update

from ml import metrics, scored
from ml.errors import BadArtifact
from ml.manifest import ImageRow
from ml.scored import Answers
from webapp.datasets import contents
from webapp.datasets.service import store
from webapp.models import Dataset, Evaluation, Experiment, Study, db, find
from webapp.registry import service as registry
from webapp.storage import DamagedObject, MissingObject

log = logging.getLogger(__name__)


def pool(study_id: int) -> bool:
    """Whether the pooled scores were made and kept: where the study is one of folds whose last member has ended well.

    Commits; twice is harmless. Decisions go to the most probable class, because each member has an operating point of
    its own.
    """
    study = find(Study, study_id)
    if study is None or study.kind != "folds" or any(row.status != "succeeded" for row in study.members):
        return False
    scores = _scores(study.dataset, answers_of(study))
    statement = update(Study).where(Study.id == study.id).values(pooled=scores.model_dump(mode="json"))
    db.session.execute(statement)
    db.session.commit()
    return True


def pool_missed() -> None:
    """Makes the pooled scores of studies whose last worker was lost before it could."""
    for study_id in db.session.scalars(select(Study.id).where(Study.kind == "folds", Study.pooled.is_(None))).all():
        try:
            pool(study_id)
        except (MissingObject, DamagedObject, BadArtifact) as error:
            log.warning("not_pooled", extra={"row_id": study_id, "reason": str(error)})


@dataclass(frozen=True)
class Pooled:
    """The images that the folds judged, in the manifest's order; `by_N` says which of `evaluations` judged each."""

    classes: tuple[str, ...]
    rows: Sequence[ImageRow]
    number_N: NDArray[np.int64]
    truth_N: NDArray[np.int64]
    probabilities_NK: NDArray[np.float64]
    evaluations: Sequence[Evaluation]
    by_N: NDArray[np.int64]


def answers_of(study: Study) -> Pooled:
    """Those of a study of folds whose members have all ended well. Raises BadArtifact, DamagedObject, MissingObject."""
    evaluations = [_evaluation(row) for row in study.members]
    parts = [_answers(evaluation) for evaluation in evaluations]
    number_N = np.concatenate([part.number_N for part in parts])
    order_N = np.argsort(number_N)
    every, classes = contents.manifest_of(study.dataset).rows, parts[0].classes
    rows = [every[number] for number in number_N[order_N]]
    return Pooled(
        classes=classes,
        rows=rows,
        number_N=number_N[order_N],
        truth_N=np.array([classes.index(row.label) for row in rows], np.int64),
        probabilities_NK=np.concatenate([part.probabilities_NK for part in parts])[order_N],
        evaluations=evaluations,
        by_N=np.repeat(np.arange(len(parts)), [len(part.number_N) for part in parts])[order_N],
    )


def _evaluation(member: Experiment) -> Evaluation:
    tested = registry.test_evaluation(member.version) if member.version else None
    if tested is None:
        raise BadArtifact(f"Experiment {member.id} has no answers on its test images.")
    return tested


def _answers(evaluation: Evaluation) -> Answers:
    with store().fetch(str(evaluation.predictions_sha256)) as path:
        return scored.read(path)


def _scores(dataset: Dataset, pooled: Pooled) -> metrics.Metrics:
    return metrics.evaluate(
        pooled.truth_N,
        pooled.probabilities_NK,
        pooled.classes,
        dataset.positive_class,
        groups=[row.group for row in pooled.rows],
    )

"""The pooled scores of folds: every image judged once, by the network that did not see it."""

import logging

import numpy as np
from sqlalchemy import select, update

from ml import metrics, scored
from ml.errors import BadArtifact
from ml.scored import Answers
from webapp.datasets import contents
from webapp.datasets.service import store
from webapp.models import Dataset, Experiment, Study, db, find
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
    scores = _scores(study.dataset, [_answers(row) for row in study.members])
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


def _answers(member: Experiment) -> Answers:
    tested = registry.test_evaluation(member.version) if member.version else None
    if tested is None:
        raise BadArtifact(f"Experiment {member.id} has no answers on its test images.")
    with store().fetch(str(tested.predictions_sha256)) as path:
        return scored.read(path)


def _scores(dataset: Dataset, parts: list[Answers]) -> metrics.Metrics:
    classes, rows = parts[0].classes, contents.manifest_of(dataset).rows
    number_N = np.concatenate([part.number_N for part in parts])
    probabilities_NK = np.concatenate([part.probabilities_NK for part in parts])
    order_N = np.argsort(number_N)
    images = [rows[number] for number in number_N[order_N]]
    return metrics.evaluate(
        np.array([classes.index(row.label) for row in images], np.int64),
        probabilities_NK[order_N],
        classes,
        dataset.positive_class,
        groups=[row.group for row in images],
    )

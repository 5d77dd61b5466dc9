"""Whether the answers of a version still spread as those on its validation split did."""

import datetime
from dataclasses import dataclass

import numpy as np
from sqlalchemy import func, select

from ml import scored
from ml.decisions import OperatingPoint
from ml.drift import GRID, Drift, Reference, Sample, compare, reference
from ml.errors import BadArtifact
from webapp.datasets.service import store
from webapp.models import Evaluation, ModelVersion, Prediction, db, now
from webapp.storage import MissingObject

WINDOWS = {"day": datetime.timedelta(days=1), "week": datetime.timedelta(days=7)}


@dataclass(frozen=True)
class Watched:
    """The answers of each window beside those on validation; `reference` is None where nothing is known of these."""

    reference: Sample | None
    samples: dict[str, Sample]
    drifts: dict[str, Drift]


def watch(version: ModelVersion) -> Watched:
    """How the answers of each window spread, and how that differs from validation."""
    until = now()
    samples = {name: _answers(version, until - length) for name, length in WINDOWS.items()}
    kept = _reference(version)
    before = kept.sample() if kept else None
    drifts = {name: compare(before, sample) for name, sample in samples.items()} if before else {}
    return Watched(before, samples, drifts)


def _answers(version: ModelVersion, since: datetime.datetime) -> Sample:
    """The scores of the answers from a moment on, counted by the database on the grid that scores are compared on.

    Of an image outside the domain there is none.
    """
    step = func.round(Prediction.probability * GRID)
    statement = (
        select(Prediction.label, step, func.count())
        .where(Prediction.version_id == version.id, Prediction.created_at >= since, Prediction.label.is_not(None))
        .group_by(Prediction.label, step)
    )
    answered: dict[str, int] = {}
    counts: dict[int, int] = {}
    for label, value, count in db.session.execute(statement):
        # Of two classes the other one has the rest.
        score = int(value) if version.positive_class in (None, label) else GRID - int(value)
        answered[label] = answered.get(label, 0) + count
        counts[score] = counts.get(score, 0) + count
    rising = sorted(counts)
    return Sample(np.array(rising) / GRID, np.array([float(counts[score]) for score in rising]), answered)


def _reference(version: ModelVersion) -> Reference | None:
    """What the card keeps; else the answers of an evaluation on the version's own validation split."""
    if version.card.get("reference"):
        return Reference.model_validate(version.card["reference"])
    statement = select(Evaluation.predictions_sha256).where(
        Evaluation.version_id == version.id,
        Evaluation.dataset_id == version.experiment.dataset_id,
        Evaluation.split == "validation",
        Evaluation.status == "succeeded",
    )
    address = db.session.scalar(statement.order_by(Evaluation.id.desc()).limit(1))
    return _of_evaluation(version, address) if address else None


def _of_evaluation(version: ModelVersion, address: str) -> Reference | None:
    point = version.card.get("operating_point")
    try:
        with store().fetch(address) as path:
            kept = scored.read(path)
    except (MissingObject, BadArtifact):
        return None
    return reference(
        kept.probabilities_NK,
        kept.classes,
        version.positive_class,
        OperatingPoint.model_validate(point) if point else None,
    )

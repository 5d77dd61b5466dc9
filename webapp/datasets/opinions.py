"""What model versions say of one image, and what part the image had in making them."""

import functools
from collections.abc import Hashable
from dataclasses import dataclass
from typing import cast

import numpy as np
from sqlalchemy import select

from ml import decisions, scored
from ml.artifact import Card
from ml.errors import BadArtifact
from ml.manifest import ImageRow
from webapp.datasets.service import store
from webapp.models import Dataset, Evaluation, Experiment, ModelVersion, db
from webapp.storage import MissingObject, Store

SHOWN = 20
ROLES = {"train": "trained on it", "validation": "chose its best epoch on it", "test": "tested on it"}


@dataclass(frozen=True)
class Opinion:
    """Without a label nothing is known of what the version says: no evaluation holds the image."""

    version: ModelVersion
    role: str
    evaluation: Evaluation | None = None
    label: str | None = None
    probability: float | None = None


def of_image(dataset: Dataset, number: int, row: ImageRow) -> list[Opinion]:
    """The newest versions that were trained or evaluated on the data set, newest first."""
    own = select(ModelVersion.id).join(Experiment).where(Experiment.dataset_id == dataset.id)
    scored_here = select(Evaluation.version_id).where(
        Evaluation.dataset_id == dataset.id, Evaluation.status == "succeeded"
    )
    statement = select(ModelVersion).where(ModelVersion.id.in_(own.union(scored_here)))
    versions = db.session.scalars(statement.order_by(ModelVersion.id.desc()).limit(SHOWN))
    found = [_opinion(version, dataset, number, row) for version in versions]
    return [opinion for opinion in found if opinion.role or opinion.label]


def _opinion(version: ModelVersion, dataset: Dataset, number: int, row: ImageRow) -> Opinion:
    is_own = version.experiment.dataset_id == dataset.id and not row.quarantined
    role = ROLES[row.split] if is_own else ""
    statement = select(Evaluation).where(
        Evaluation.version_id == version.id,
        Evaluation.dataset_id == dataset.id,
        Evaluation.split.in_((row.split, "all")),
        Evaluation.predictions_sha256.is_not(None),
    )
    for evaluation in db.session.scalars(statement.order_by(Evaluation.id.desc()).limit(3)):
        said = _said(cast(Hashable, store()), str(evaluation.predictions_sha256), number)
        if said:
            label = _label(version, said)
            return Opinion(version, role or "evaluated on it", evaluation, label, said[label])
    return Opinion(version, role)


@functools.lru_cache(maxsize=1024)
def _said(store: Hashable, sha256: str, number: int) -> dict[str, float] | None:
    """Kept answers that are gone or damaged are as good as none: the page shows everything else."""
    try:
        with cast(Store, store).fetch(sha256) as path:
            return scored.find(path, number)
    except (MissingObject, BadArtifact):
        return None


def _label(version: ModelVersion, said: dict[str, float]) -> str:
    """The class that the version decides for at its operating point."""
    card = Card.model_validate(version.card)
    probabilities_1K = np.array([[said[name] for name in card.classes]], np.float32)
    decided_1 = decisions.decide(probabilities_1K, card.classes, card.positive_class, card.operating_point)
    return str(card.classes[int(decided_1[0])])

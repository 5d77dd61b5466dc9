"""What model versions say of one image, and what part the image had in making them."""

import functools
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
from sqlalchemy import select

from ml import decisions, scored
from ml.artifact import Card
from ml.errors import BadArtifact
from ml.manifest import ImageRow
from webapp.datasets import contents
from webapp.datasets.service import store
from webapp.models import Dataset, Evaluation, Experiment, ModelVersion, db
from webapp.storage import MissingObject, Store

SHOWN = 20
OTHERS_READ = 3  # versions of the data set
EVALUATIONS_READ = 6  # of one model version
ROLES = {"train": "trained on it", "validation": "chose its best epoch on it", "test": "tested on it"}


@dataclass(frozen=True)
class Opinion:
    """Without a label nothing is known of what the version says: no evaluation holds the image.

    `dataset` is the version of the data set in which the model saw it.
    """

    version: ModelVersion
    dataset: Dataset
    role: str
    evaluation: Evaluation | None = None
    label: str | None = None
    probability: float | None = None


def of_image(dataset: Dataset, number: int, row: ImageRow) -> list[Opinion]:
    """The newest model versions that saw the image, newest first; in whichever version of the data set they did."""
    places = {dataset.id: Place(dataset, number, row)} | _elsewhere(dataset, row.sha256)
    own = select(ModelVersion.id).join(Experiment).where(Experiment.dataset_id.in_(places))
    scored_here = select(Evaluation.version_id).where(
        Evaluation.dataset_id.in_(places), Evaluation.status == "succeeded"
    )
    statement = select(ModelVersion).where(ModelVersion.id.in_(own.union(scored_here)))
    versions = db.session.scalars(statement.order_by(ModelVersion.id.desc()).limit(SHOWN))
    found = [_opinion(version, places) for version in versions]
    return [opinion for opinion in found if opinion is not None]


class Place(NamedTuple):
    """The image in one version of its data set."""

    dataset: Dataset
    number: int
    row: ImageRow


def _elsewhere(dataset: Dataset, sha256: str) -> dict[int, Place]:
    """The same pixels in the newest other versions of the data set that a model learned from or was scored on."""
    used = select(Experiment.dataset_id).union(select(Evaluation.dataset_id))
    others = select(Dataset).where(
        Dataset.line == dataset.line, Dataset.id != dataset.id, Dataset.status == "ready", Dataset.id.in_(used)
    )
    places = {}
    for other in db.session.scalars(others.order_by(Dataset.number.desc()).limit(OTHERS_READ)):
        rows = contents.manifest_of(other).rows
        found = next((number for number, row in enumerate(rows) if row.sha256 == sha256), None)
        if found is not None:
            places[other.id] = Place(other, found, rows[found])
    return places


def _opinion(version: ModelVersion, places: Mapping[int, Place]) -> Opinion | None:
    """What is known; None where the version has nothing to do with the image."""
    own = places.get(version.experiment.dataset_id)
    role = ROLES[own.row.split] if own and not own.row.quarantined else ""
    statement = select(Evaluation).where(
        Evaluation.version_id == version.id,
        Evaluation.dataset_id.in_(places),
        Evaluation.predictions_sha256.is_not(None),
    )
    for evaluation in db.session.scalars(statement.order_by(Evaluation.id.desc()).limit(EVALUATIONS_READ)):
        place = places[evaluation.dataset_id]
        if evaluation.split not in (place.row.split, "all"):
            continue
        said = _said(cast(Hashable, store()), str(evaluation.predictions_sha256), place.number)
        if said:
            label = _label(version, said)
            seen_in = own.dataset if own and role else place.dataset
            return Opinion(version, seen_in, role or "evaluated on it", evaluation, label, said[label])
    return Opinion(version, own.dataset, role) if own and role else None


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

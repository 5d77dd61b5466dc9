"""Where a version looked in the images of an evaluation, and which training images it found alike."""

import functools
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import select

from ml import evidence, explain
from ml.errors import BadArtifact
from ml.evidence import Evidence
from ml.folding import as_seen
from ml.manifest import ImageRow
from webapp.datasets import contents
from webapp.datasets.service import store
from webapp.errors import NotFound
from webapp.models import Dataset, Evaluation, ModelVersion, db
from webapp.storage import MissingObject, Store
from webapp.studies import members

NEIGHBOURS_SHOWN = 6


@dataclass(frozen=True)
class Neighbour:
    """A training image; `distance` is that of the cosine, 0 for the same direction."""

    number: int
    row: ImageRow
    distance: float


def of(evaluation: Evaluation) -> Evidence | None:
    """What the job kept; None where it kept nothing, or the store lost it."""
    if not evaluation.evidence_sha256:
        return None
    try:
        return _kept(cast(Hashable, store()), evaluation.evidence_sha256)
    except (MissingObject, BadArtifact):
        return None


@functools.lru_cache(maxsize=4)
def _kept(store: Hashable, sha256: str) -> Evidence:
    with cast(Store, store).fetch(sha256) as path:
        return evidence.Evidence.read(path)


def overlay_png(evaluation: Evaluation, number: int, side_px: int) -> bytes:
    """The map of what was decided, to lay over the image; its longer side has at most `side_px`. Raises NotFound."""
    kept = of(evaluation)
    place = kept.place(number) if kept else None
    if kept is None or place is None:
        raise NotFound(f"Evaluation {evaluation.id} has no map of image {number}.")
    row = contents.row_of(evaluation.dataset, number)
    scale = min(1.0, side_px / max(row.width, row.height))
    return explain.overlay_png(
        kept.maps_NHW[place], max(1, round(scale * row.width)), max(1, round(scale * row.height))
    )


def neighbours(evaluation: Evaluation, number: int) -> list[Neighbour]:
    """The training images that the version finds most like the image, nearest first.

    Those of a group that was removed since, and those that the newest version of the data holds in quarantine, are
    left out.
    """
    kept = of(evaluation)
    place = kept.place(number) if kept else None
    if kept is None or place is None:
        return []
    version = evaluation.version
    trained = as_seen(contents.manifest_of(version.experiment.dataset), members.of(version.experiment))
    hidden = _quarantined_since(version)
    found = [
        Neighbour(other, trained.rows[other], distance)
        for other, distance in zip(kept.nearest_Nk[place].tolist(), kept.distance_Nk[place].tolist(), strict=True)
    ]
    shown = [one for one in found if one.row.group not in version.removed_groups and one.row.sha256 not in hidden]
    return shown[:NEIGHBOURS_SHOWN]


def _quarantined_since(version: ModelVersion) -> set[str]:
    line = version.experiment.dataset.line
    statement = select(Dataset).where(Dataset.line == line, Dataset.status == "ready").order_by(Dataset.number.desc())
    newest: Any = db.session.scalar(statement.limit(1))
    return {row.sha256 for row in contents.manifest_of(newest).rows if row.quarantined} if newest else set()

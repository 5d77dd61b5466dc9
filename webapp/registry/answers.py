"""What a version said of each image of an evaluation, beside the truth: from the answers kept in the store."""

import functools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ml import decisions, scored
from ml.decisions import OperatingPoint
from ml.errors import BadArtifact
from ml.manifest import ImageRow
from webapp.datasets.service import store
from webapp.datasets.versions import origin_of
from webapp.errors import Conflict
from webapp.models import Evaluation, ModelVersion, find
from webapp.storage import MissingObject, Store
from webapp.studies import members

_LEAST_PROBABILITY = 5e-7  # kept answers have six digits: a zero may stand for as much


@dataclass(frozen=True)
class Answered:
    """The images of an evaluation in the manifest's order, with their columns of `classes`."""

    classes: tuple[str, ...]
    positive: int | None
    rows: Sequence[ImageRow]
    number_N: NDArray[np.int64]
    truth_N: NDArray[np.int64]
    decided_N: NDArray[np.int64]
    probabilities_NK: NDArray[np.float64]
    confidence_N: NDArray[np.float64]  # probability of the decided class
    truth_probability_N: NDArray[np.float64]
    loss_N: NDArray[np.float64]  # cross-entropy: minus the logarithm of the probability of the truth

    def images_in(self, truth: int | None, decided: int | None, sort: str) -> NDArray[np.int64]:
        """The places of the images in one cell of the confusion matrix, or of a whole row or column of it."""
        is_in_N = np.ones(len(self.rows), bool)
        if truth is not None:
            is_in_N &= self.truth_N == truth
        if decided is not None:
            is_in_N &= self.decided_N == decided
        place_M = np.flatnonzero(is_in_N)
        key = {"confidence": self.confidence_N, "loss": self.loss_N}.get(sort)
        return place_M if key is None else place_M[np.argsort(-key[place_M], kind="stable")]


def of(evaluation: Evaluation) -> Answered:
    """The answers, decided at the operating point of the evaluation. Raises Conflict where they are not at hand."""
    if evaluation.status != "succeeded":
        raise Conflict(f"Evaluation {evaluation.id} is {evaluation.status}: it has no answers yet.")
    try:
        kept = _kept(cast(Hashable, store()), str(evaluation.predictions_sha256))
    except (MissingObject, BadArtifact) as error:
        raise Conflict(
            f"The answers of evaluation {evaluation.id} for single images are not in the store. "
            f"Evaluate version {evaluation.version_id} on {evaluation.dataset.name} again."
        ) from error
    metrics = evaluation.metrics or {}
    rows = members.manifest_for(evaluation.version.experiment, evaluation.dataset).rows
    return _judged(
        kept, [rows[number] for number in kept.number_N], metrics.get("positive_class"), metrics.get("operating_point")
    )


def is_learned(version: ModelVersion, rows: Sequence[ImageRow]) -> NDArray[np.bool_]:
    """Which images the version was trained on, or one whose weights it began with.

    They are known by their pixels, so also where they lie in another data set or in another split.
    """
    learned: set[str] = set()
    ancestor: ModelVersion | None = version
    while ancestor:
        seen = members.manifest_for(ancestor.experiment, ancestor.experiment.dataset)
        learned.update(row.sha256 for row in seen.of_split("train"))
        ancestor = find(ModelVersion, origin_of(ancestor.experiment) or 0)
    return np.array([row.sha256 in learned for row in rows], bool)


def _judged(kept: scored.Answers, rows: list[ImageRow], positive_class: str | None, point: Any) -> Answered:
    column = {label: index for index, label in enumerate(kept.classes)}
    truth_N = np.array([column[row.label] for row in rows], np.int64)
    operating_point = OperatingPoint.model_validate(point) if point else None
    decided_N = decisions.decide(kept.probabilities_NK, kept.classes, positive_class, operating_point)
    truth_probability_N = _of_label(kept.probabilities_NK, truth_N)
    return Answered(
        classes=kept.classes,
        positive=column[positive_class] if positive_class else None,
        rows=rows,
        number_N=kept.number_N,
        truth_N=truth_N,
        decided_N=decided_N,
        probabilities_NK=kept.probabilities_NK,
        confidence_N=_of_label(kept.probabilities_NK, decided_N),
        truth_probability_N=truth_probability_N,
        loss_N=-np.log(np.maximum(truth_probability_N, _LEAST_PROBABILITY)),
    )


def _of_label(probabilities_NK: NDArray[np.float64], label_N: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.take_along_axis(probabilities_NK, label_N[:, None], axis=1)[:, 0]


@functools.lru_cache(maxsize=8)
def _kept(store: Hashable, sha256: str) -> scored.Answers:
    with cast(Store, store).fetch(sha256) as path:
        return scored.read(path)

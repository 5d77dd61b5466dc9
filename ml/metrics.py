"""Metrics: every score of a version on one set of images, each with its 95 % interval. Free of torch and scikit-learn.

With a positive class (one of two) sensitivity, specificity and the predictive values speak of it; without one they are
undefined, and AUC, average precision and F1 are means over the classes that the images hold.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from ml import calibration, intervals, ranking
from ml.calibration import Calibration
from ml.config import Frozen
from ml.decisions import OperatingPoint, choose_threshold, decide
from ml.errors import BadArtifact, BadConfig
from ml.intervals import Score
from ml.ranking import Roc

__all__ = ["Metrics", "OperatingPoint", "Score", "choose_threshold", "evaluate"]


class Confusion(Frozen):
    """Counts of images; a row is a true class, a column what was decided."""

    labels: tuple[str, ...]
    rows_are: Literal["truth"] = "truth"
    matrix: tuple[tuple[int, ...], ...]


class ClassScores(Frozen):
    """One class against the rest; `n` images truly show it."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    class_: str = Field(alias="class")
    n: int
    precision: Score
    recall: Score
    f1: Score


class Metrics(Frozen):
    """The scores of `n` images. A score that they do not define is empty: its value is None."""

    n: int
    positive_class: str | None
    average: Literal["positive class", "macro"]  # how auc, average_precision and f1 are taken
    accuracy: Score
    auc: Score
    average_precision: Score
    sensitivity: Score
    specificity: Score
    ppv: Score
    npv: Score
    balanced_accuracy: Score
    f1: Score
    confusion: Confusion
    operating_point: OperatingPoint | None
    calibration: Calibration
    per_class: tuple[ClassScores, ...]
    roc: Roc | None  # of the positive class
    per_group: tuple[dict[str, Any], ...] = ()


def evaluate(
    truth_N: NDArray[np.int64],
    probabilities_NK: NDArray[np.floating],
    classes: Sequence[str],
    positive_class: str | None = None,
    operating_point: OperatingPoint | None = None,
) -> Metrics:
    """Every score of the probabilities; `truth_N` holds columns of `probabilities_NK`, which stand for `classes`.

    Raises BadConfig for a positive class that is not one of two, BadArtifact for a probability that is not a number.
    """
    exact_NK = np.asarray(probabilities_NK, np.float64)
    _check(truth_N, exact_NK, classes, positive_class)
    decided_N = decide(exact_NK, classes, positive_class, operating_point)
    counts_KK = _confusion(truth_N, decided_N, len(classes))
    labels = range(len(classes)) if positive_class is None else [classes.index(positive_class)]
    per_class = tuple(_class_scores(name, counts_KK, label) for label, name in enumerate(classes))
    return Metrics(
        n=len(truth_N),
        positive_class=positive_class,
        average="macro" if positive_class is None else "positive class",
        accuracy=intervals.proportion(int(counts_KK.trace()), len(truth_N)),
        auc=ranking.auc(truth_N, exact_NK, labels),
        average_precision=ranking.average_precision(truth_N, exact_NK, labels),
        **_rates(counts_KK, labels[0] if positive_class else None),
        balanced_accuracy=intervals.mean_of_independent([scores.recall for scores in per_class]),
        f1=per_class[labels[0]].f1 if positive_class else _macro_f1(truth_N, decided_N, per_class),
        confusion=Confusion(labels=tuple(classes), matrix=tuple(map(tuple, counts_KK.tolist()))),
        operating_point=operating_point,
        calibration=_calibration(truth_N, exact_NK, decided_N, labels[0] if positive_class else None),
        per_class=per_class,
        roc=ranking.roc(truth_N == labels[0], exact_NK[:, labels[0]]) if positive_class else None,
    )


def _check(
    truth_N: NDArray[np.int64],
    probabilities_NK: NDArray[np.float64],
    classes: Sequence[str],
    positive_class: str | None,
) -> None:
    if probabilities_NK.shape != (len(truth_N), len(classes)):
        raise ValueError(f"{len(truth_N)} images, {len(classes)} classes: probabilities are {probabilities_NK.shape}.")
    if ((truth_N < 0) | (truth_N >= len(classes))).any():
        raise ValueError(f"A true class is outside 0 to {len(classes) - 1}.")
    if positive_class is not None and (len(classes) != 2 or positive_class not in classes):
        raise BadConfig(f"The positive class '{positive_class}' must be one of two classes; these are {list(classes)}.")
    if not np.isfinite(probabilities_NK).all():
        raise BadArtifact("The model gave a probability that is not a number. Train it again with a lower rate.")


def _confusion(truth_N: NDArray[np.int64], decided_N: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    return np.bincount(truth_N * classes + decided_N, minlength=classes**2).reshape(classes, classes)


def _rates(counts_KK: NDArray[np.int64], positive: int | None) -> dict[str, Score]:
    """The four rates of a two-by-two table."""
    if positive is None:
        return {name: Score() for name in ("sensitivity", "specificity", "ppv", "npv")}
    negative = 1 - positive
    found, rejected = int(counts_KK[positive, positive]), int(counts_KK[negative, negative])
    return {
        "sensitivity": intervals.proportion(found, int(counts_KK[positive].sum())),
        "specificity": intervals.proportion(rejected, int(counts_KK[negative].sum())),
        "ppv": intervals.proportion(found, int(counts_KK[:, positive].sum())),
        "npv": intervals.proportion(rejected, int(counts_KK[:, negative].sum())),
    }


def _class_scores(name: str, counts_KK: NDArray[np.int64], label: int) -> ClassScores:
    right, true, called = (int(n) for n in (counts_KK[label, label], counts_KK[label].sum(), counts_KK[:, label].sum()))
    return ClassScores(
        class_=name,
        n=true,
        precision=intervals.proportion(right, called),
        recall=intervals.proportion(right, true),
        f1=intervals.f1(right, called - right, true - right),
    )


def _macro_f1(truth_N: NDArray[np.int64], decided_N: NDArray[np.int64], per_class: Sequence[ClassScores]) -> Score:
    """Mean F1 of the classes that the images hold, with a stratified bootstrap interval."""
    present = [label for label, scores in enumerate(per_class) if scores.n]
    if not present:
        return Score()

    def mean_f1(weight_N: NDArray[np.int64]) -> float:
        cell_N = truth_N * len(per_class) + decided_N
        counts = np.bincount(cell_N, weight_N, minlength=len(per_class) ** 2)
        counts_KK = counts.reshape(len(per_class), len(per_class))
        return float((2 * counts_KK.diagonal() / np.maximum(counts_KK.sum(0) + counts_KK.sum(1), 1))[present].mean())

    fallback = intervals.mean_of_dependent([per_class[label].f1 for label in present])
    return intervals.bootstrap(mean_f1, truth_N, fallback)


def _calibration(
    truth_N: NDArray[np.int64],
    probabilities_NK: NDArray[np.float64],
    decided_N: NDArray[np.int64],
    positive: int | None,
) -> Calibration:
    if positive is None:
        return calibration.of_decided_class(truth_N, probabilities_NK, decided_N)
    return calibration.of_positive_class(truth_N == positive, probabilities_NK[:, positive])

"""Metrics: every score of a version on one set of images, each with its 95 % interval. Free of torch and scikit-learn.

With a positive class (one of two) sensitivity, specificity and the predictive values speak of it; without one they are
undefined, and AUC, average precision and F1 are means over the classes that the images hold. docs/evaluation.md tells
what each score means and where its formula comes from.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from ml import grouped, ranking
from ml.beliefs import Beliefs
from ml.calibration import Calibration
from ml.clusters import Clusters
from ml.config import Frozen
from ml.conformal import ConformalRule, ConformalScores
from ml.decisions import OperatingPoint, choose_threshold, decide
from ml.errors import BadArtifact, BadConfig
from ml.grouped import GroupLevel, GroupScores
from ml.intervals import REPLICATES, Score
from ml.netbenefit import DecisionCurve
from ml.ranking import Roc
from ml.replicates import FIXED
from ml.selective import RiskCoverage
from ml.settled import Settled

__all__ = ["Metrics", "OperatingPoint", "Score", "choose_threshold", "evaluate"]


class Confusion(Frozen):
    """Counts of images; a row is a true class, a column what was decided."""

    labels: tuple[str, ...]
    rows_are: Literal["truth"] = "truth"
    matrix: tuple[tuple[int, ...], ...]


class ClassScores(Frozen):
    """One class against the rest; `n` images truly show it. Its precision is the positive predictive value.

    With a positive class `auc` is the same for both, and the curve is `Metrics.roc`.
    """

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    class_: str = Field(alias="class")
    n: int
    precision: Score
    recall: Score
    f1: Score
    specificity: Score = Score()
    npv: Score = Score()
    auc: Score = Score()
    roc: Roc | None = None


class Intervals(Frozen):
    """Where the bounds of the scores come from; `groups` were drawn where images of one are not independent."""

    method: Literal["Wilson, DeLong, bootstrap", "cluster bootstrap"]
    groups: int | None
    draws: int


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
    mcc: Score = Score()  # in [-1, 1]
    brier: Score = Score()  # as in `calibration`: of many classes in [0, 2]
    ece: Score = Score()  # as in `calibration`
    confusion: Confusion
    operating_point: OperatingPoint | None
    calibration: Calibration
    per_class: tuple[ClassScores, ...]
    roc: Roc | None  # of the positive class
    sensitivity_at_specificity: dict[str, Score] = Field(default_factory=dict)  # "0.90" -> highest on the curve
    specificity_at_sensitivity: dict[str, Score] = Field(default_factory=dict)
    intervals: Intervals | None = None
    decision_curve: DecisionCurve | None = None
    risk_coverage: RiskCoverage | None = None
    conformal: tuple[ConformalScores, ...] = ()
    group_level: GroupLevel | None = None
    no_group_level: str | None = None  # why there is none, for readers; None also where an earlier release scored
    per_group: tuple[GroupScores, ...] = ()


def evaluate(
    truth_N: NDArray[np.int64],
    probabilities_NK: NDArray[np.floating],
    classes: Sequence[str],
    positive_class: str | None = None,
    operating_point: OperatingPoint | None = None,
    groups: Sequence[str | None] | None = None,
    rules: Sequence[ConformalRule] = (),
) -> Metrics:
    """Every score of the probabilities; `truth_N` holds columns of `probabilities_NK`, which stand for `classes`.

    `groups` names each image's group (patient), or None. Where one has several images, all intervals are those of a
    bootstrap of groups. `rules` are conformal rules that other images fixed.
    Raises BadConfig for a positive class that is not one of two, BadArtifact for a probability that is not a number.
    """
    exact_NK = np.asarray(probabilities_NK, np.float64)
    _check(truth_N, exact_NK, classes, positive_class)
    positive = None if positive_class is None else classes.index(positive_class)
    decided_N = decide(exact_NK, classes, positive_class, operating_point)
    clusters = Clusters.of(truth_N, groups)
    beliefs = Beliefs.of(truth_N, decided_N, exact_NK, positive, operating_point, rules)
    settled = Settled.of(clusters, truth_N, decided_N, exact_NK, positive, beliefs.statistics())
    believed = beliefs.calibration(settled)
    per_class = tuple(_class_scores(name, label, settled) for label, name in enumerate(classes))
    of_groups = grouped.group_level(clusters, truth_N, exact_NK, classes, positive_class, operating_point)
    return Metrics(
        n=len(truth_N),
        positive_class=positive_class,
        average="macro" if positive is None else "positive class",
        accuracy=settled.accuracy(),
        auc=settled.auc(),
        average_precision=settled.average_precision(),
        **_rates(per_class, positive),
        balanced_accuracy=settled.balanced_accuracy(),
        f1=settled.macro_f1() if positive is None else per_class[positive].f1,
        mcc=settled.mcc(),
        brier=beliefs.brier(settled),
        ece=beliefs.ece(settled, believed.ece),
        confusion=Confusion(labels=tuple(classes), matrix=tuple(map(tuple, settled.counts_KK.tolist()))),
        operating_point=operating_point,
        calibration=believed,
        per_class=per_class,
        roc=None if positive is None else ranking.roc(truth_N == positive, exact_NK[:, positive]),
        sensitivity_at_specificity={f"{at:.2f}": settled.at_fixed("sensitivity", at) for at in FIXED},
        specificity_at_sensitivity={f"{at:.2f}": settled.at_fixed("specificity", at) for at in FIXED},
        intervals=Intervals(
            method="cluster bootstrap" if clusters.is_clustered else "Wilson, DeLong, bootstrap",
            groups=clusters.n if clusters.is_clustered else None,
            draws=REPLICATES,
        ),
        decision_curve=beliefs.decision_curve(settled),
        risk_coverage=beliefs.risk_coverage(settled),
        conformal=tuple(beliefs.conformal(settled, number) for number in range(len(rules))),
        group_level=of_groups,
        no_group_level=None if of_groups else grouped.why_none(clusters, groups),
        per_group=grouped.per_group(groups, truth_N, decided_N, exact_NK) if clusters.is_clustered else (),
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


def _class_scores(name: str, label: int, settled: Settled) -> ClassScores:
    return ClassScores(
        class_=name,
        n=int(settled.counts_KK[label].sum()),
        precision=settled.precision(label),
        recall=settled.recall(label),
        f1=settled.f1(label),
        specificity=settled.specificity(label),
        npv=settled.npv(label),
        auc=settled.auc_of(label),
        roc=settled.roc_of(label),
    )


def _rates(per_class: Sequence[ClassScores], positive: int | None) -> dict[str, Score]:
    """The four rates of a two-by-two table."""
    if positive is None:
        return {name: Score() for name in ("sensitivity", "specificity", "ppv", "npv")}
    of_positive, of_negative = per_class[positive], per_class[1 - positive]
    return {
        "sensitivity": of_positive.recall,
        "specificity": of_negative.recall,
        "ppv": of_positive.precision,
        "npv": of_negative.precision,
    }

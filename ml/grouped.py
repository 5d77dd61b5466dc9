"""Scores of groups: one answer for all images of a patient, and which patients the model fails on.

Group names come from the archive and are taken for pseudonyms, as everywhere.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml import intervals, ranking
from ml.clusters import Clusters
from ml.config import Frozen
from ml.decisions import OperatingPoint, decide
from ml.intervals import Score

LISTED = 200


class GroupLevel(Frozen):
    """Scores of `n` groups, each answered once. Groups are independent.

    A group that holds images of several classes is `mixed`. With a positive class such a group is positive, and a set
    that has any is answered by the highest probability: then no finding is diluted by the images beside it. Without
    one a mixed group has no class itself and is `left_out`.
    """

    n: int
    answer: Literal["mean probability", "highest probability"] = "mean probability"  # of the images of each group
    mixed: int = 0
    left_out: int = 0
    auc: Score
    accuracy: Score
    sensitivity: Score
    specificity: Score


class GroupScores(Frozen):
    """How one group fared: of its `n` images so many were named rightly."""

    group: str
    n: int
    correct: int
    mean_probability: float  # that the images were given for their true class


def why_none(clusters: Clusters, groups: Sequence[str | None] | None) -> str:
    """Why these images have no scores of groups, for a reader of the metrics."""
    if not any(groups or ()):
        return "No image here names its group (patient). Give the groups in the archive to have scores of patients."
    if not clusters.is_clustered:
        return "No group (patient) has several images here: its scores are those of the images."
    return (
        f"Every one of the {clusters.n} groups has images of several classes, so none has a class itself. "
        "With a positive class, one of two, such a group is positive."
    )


def group_level(
    clusters: Clusters,
    truth_N: NDArray[np.int64],
    probabilities_NK: NDArray[np.float64],
    classes: Sequence[str],
    positive_class: str | None,
    operating_point: OperatingPoint | None,
) -> GroupLevel | None:
    """The scores of groups, decided at the same operating point as the images. None where `why_none` says why."""
    if not clusters.is_clustered:
        return None
    positive = None if positive_class is None else classes.index(positive_class)
    low_G, high_G = clusters.lowest(truth_N), clusters.highest(truth_N)
    is_mixed_G = low_G != high_G
    if positive is not None and is_mixed_G.any():
        truth_G, said_GK = np.where(is_mixed_G, positive, low_G), _highest(clusters, probabilities_NK, positive)
    else:
        truth_G, said_GK = low_G[~is_mixed_G], _means(clusters, probabilities_NK)[~is_mixed_G]
    if not len(truth_G):
        return None
    is_right_G = decide(said_GK, classes, positive_class, operating_point) == truth_G
    of_positive_G = truth_G == positive
    return GroupLevel(
        n=len(truth_G),
        answer="highest probability" if positive is not None and is_mixed_G.any() else "mean probability",
        mixed=int(is_mixed_G.sum()),
        left_out=clusters.n - len(truth_G),
        auc=ranking.auc(truth_G, said_GK, range(len(classes)) if positive is None else [positive]),
        accuracy=_share(is_right_G),
        sensitivity=Score() if positive is None else _share(is_right_G[of_positive_G]),
        specificity=Score() if positive is None else _share(is_right_G[~of_positive_G]),
    )


def _means(clusters: Clusters, probabilities_NK: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = [np.bincount(clusters.group_N, column_N) for column_N in probabilities_NK.T]
    means_GK: NDArray[np.float64] = np.stack(sums, axis=1) / np.bincount(clusters.group_N)[:, None]
    return means_GK


def _highest(clusters: Clusters, probabilities_NK: NDArray[np.float64], positive: int) -> NDArray[np.float64]:
    """Of two classes: the highest probability of the positive one, and what is left for the other."""
    highest_G = clusters.highest(probabilities_NK[:, positive])
    columns = [1 - highest_G, highest_G] if positive else [highest_G, 1 - highest_G]
    return np.stack(columns, axis=1)


def per_group(
    groups: Sequence[str | None] | None,
    truth_N: NDArray[np.int64],
    decided_N: NDArray[np.int64],
    probabilities_NK: NDArray[np.float64],
) -> tuple[GroupScores, ...]:
    """The named groups, worst first: lowest share of right answers, then lowest probability; at most `LISTED`."""
    members: dict[str, list[int]] = {}
    for at, name in enumerate(groups or ()):
        if name is not None:
            members.setdefault(name, []).append(at)
    of_truth_N = probabilities_NK[np.arange(len(truth_N)), truth_N]
    found = [
        GroupScores(
            group=name,
            n=len(image_M),
            correct=int((truth_N[image_M] == decided_N[image_M]).sum()),
            mean_probability=float(of_truth_N[image_M].mean()),
        )
        for name, image_M in members.items()
    ]
    found.sort(key=lambda one: (one.correct / one.n, one.mean_probability, one.group))
    return tuple(found[:LISTED])


def _share(is_right_M: NDArray[np.bool_]) -> Score:
    return intervals.proportion(int(is_right_M.sum()), len(is_right_M))

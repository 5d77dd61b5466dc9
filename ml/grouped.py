"""Scores of groups: one answer for all images of a patient, and which patients the model fails on.

Group names come from the archive and are taken for pseudonyms, as everywhere.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ml import intervals, ranking
from ml.clusters import Clusters
from ml.config import Frozen
from ml.decisions import OperatingPoint, decide
from ml.intervals import Score

LISTED = 200


class GroupLevel(Frozen):
    """Scores of `n` groups, each answered with the mean probabilities of its images. Groups are independent."""

    n: int
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


def group_level(
    clusters: Clusters,
    truth_N: NDArray[np.int64],
    probabilities_NK: NDArray[np.float64],
    classes: Sequence[str],
    positive_class: str | None,
    operating_point: OperatingPoint | None,
) -> GroupLevel | None:
    """The scores of groups, decided at the same operating point as the images.

    None where no group has several images, and where one has images of several classes: it then has no class itself.
    """
    if not clusters.is_clustered:
        return None
    size_G = np.bincount(clusters.group_N)
    truth_G = np.zeros(clusters.n, np.int64)
    truth_G[clusters.group_N] = truth_N
    if (truth_G[clusters.group_N] != truth_N).any():
        return None
    sums = [np.bincount(clusters.group_N, column_N) for column_N in probabilities_NK.T]
    mean_GK = np.stack(sums, axis=1) / size_G[:, None]
    is_right_G = decide(mean_GK, classes, positive_class, operating_point) == truth_G
    sensitivity = specificity = Score()
    labels: Sequence[int] = range(len(classes))
    if positive_class is not None:
        labels = [classes.index(positive_class)]
        is_positive_G = truth_G == labels[0]
        sensitivity, specificity = _share(is_right_G[is_positive_G]), _share(is_right_G[~is_positive_G])
    return GroupLevel(
        n=clusters.n,
        auc=ranking.auc(truth_G, mean_GK, labels),
        accuracy=_share(is_right_G),
        sensitivity=sensitivity,
        specificity=specificity,
    )


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

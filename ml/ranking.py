"""Ranking: how well probabilities order images, whatever the threshold. ROC curve, its area, average precision."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ml.config import Frozen
from ml.intervals import Score, mean_of_independent, newcombe_area, on_logit_scale, proportion

MAX_POINTS = 200
_ENOUGH_FOR_DELONG = 30  # images of the smallest class; with fewer its intervals hold the truth in under 92 % of draws


class Roc(Frozen):
    """The ROC curve from (0, 0) to (1, 1), thinned for drawing; the first threshold is above every probability."""

    fpr: tuple[float, ...]
    tpr: tuple[float, ...]
    thresholds: tuple[float | None, ...]


def auc(
    truth_N: NDArray[np.int64], probabilities_NK: NDArray[np.float64], labels: Sequence[int], scale: float = 1
) -> Score:
    """Area under the ROC curve of each label against the rest, averaged over the labels that the images allow.

    The interval is DeLong's on the logit scale (DeLong et al. 1988; Sun & Xu 2014): the area is a sum of one placement
    value an image, so its variance is that within the classes, and one formula serves two classes and many. For small
    classes and perfect rankings it is Newcombe's, with the size of the smallest class. Where an image is worth only a
    `scale` of an independent one, it is Newcombe's of so many images.
    """
    labels = rankable(truth_N, labels)
    if not labels:
        return Score()
    wins = [_wins(truth_N == label, probabilities_NK[:, label]) for label in labels]
    pairs = [int((truth_N == label).sum() * (truth_N != label).sum()) for label in labels]
    value = float(np.mean([win_N.sum() / 2 / n for win_N, n in zip(wins, pairs, strict=True)]))
    share_N = np.mean([win_N / n for win_N, n in zip(wins, pairs, strict=True)], axis=0)
    smallest = int(np.unique(truth_N, return_counts=True)[1].min())
    variance = _variance_of_sum(share_N, truth_N)
    if scale != 1 or smallest < _ENOUGH_FOR_DELONG or variance < 1e-14:  # nothing varies: perfect, or no ranking
        return newcombe_area(value, max(1, scale * smallest), max(1, scale * (len(truth_N) - smallest)))
    return on_logit_scale(value, variance)


def auc_covariance(
    is_positive_N: NDArray[np.bool_], probability_VN: NDArray[np.float64], group_N: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Areas under the ROC curves of several rankings of the same images, and their covariances: area_V, covariance_VV.

    Obuchowski (1997), Biometrics 53:567: images of one group (patient) may depend on each other. Where each is a group
    of its own these are the covariances of DeLong et al. (1988). Images of each class come from two groups or more.
    """
    positives, negatives = int(is_positive_N.sum()), int((~is_positive_N).sum())
    win_VN = np.stack([_wins(is_positive_N, probability_N) for probability_N in probability_VN])
    area_V = win_VN[:, is_positive_N].sum(axis=1) / (positives * negatives)
    place_VN = win_VN / np.where(is_positive_N, negatives, positives) - area_V[:, None]
    of_group_N = np.unique(group_N, return_inverse=True)[1]
    positive_VG, negative_VG = (
        np.stack([np.bincount(of_group_N, place_N * of_class_N) for place_N in place_VN])
        for of_class_N in (is_positive_N, ~is_positive_N)
    )
    with_positives, with_negatives = (len(np.unique(group_N[of_N])) for of_N in (is_positive_N, ~is_positive_N))
    cross_VV = _unbiased(positive_VG.shape[1]) * positive_VG @ negative_VG.T / (positives * negatives)
    covariance_VV = (
        _unbiased(with_positives) * positive_VG @ positive_VG.T / positives**2
        + _unbiased(with_negatives) * negative_VG @ negative_VG.T / negatives**2
        + cross_VV
        + cross_VV.T
    )
    return area_V, covariance_VV


def average_precision(
    truth_N: NDArray[np.int64], probabilities_NK: NDArray[np.float64], labels: Sequence[int], scale: float = 1
) -> Score:
    """Area under the precision-recall curve, as a step function, averaged over the labels that the images allow.

    The interval is that of a share of the label's images, as Boyd, Eng & Page (2013) advise, in Wilson's form. It is on
    the wide side; a bootstrap of the same images is far too narrow.
    """
    scores = []
    for label in rankable(truth_N, labels):
        positives = scale * int((truth_N == label).sum())
        area = _precision_area(truth_N == label, probabilities_NK[:, label])
        scores.append(proportion(area * positives, positives))
    return mean_of_independent(scores)


def roc(is_positive_N: NDArray[np.bool_], probability_N: NDArray[np.float64], points: int = MAX_POINTS) -> Roc | None:
    """The curve of at most so many points; None where one of the two classes is absent."""
    threshold_T, positives_T, negatives_T = cumulated(is_positive_N, probability_N)
    if not len(threshold_T) or not positives_T[-1] or not negatives_T[-1]:
        return None
    corner_T = _corners(positives_T, negatives_T)
    kept = corner_T[np.unique(np.linspace(0, len(corner_T) - 1, points - 1).round().astype(int))]
    return Roc(
        fpr=(0.0, *(negatives_T[kept] / negatives_T[-1]).tolist()),
        tpr=(0.0, *(positives_T[kept] / positives_T[-1]).tolist()),
        thresholds=(None, *threshold_T[kept].tolist()),
    )


def cumulated(
    is_positive_N: NDArray[np.bool_], probability_N: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Distinct probabilities in falling order, with the positives and negatives that have at least so much."""
    order_N = np.argsort(-probability_N, kind="stable")
    last_T = _last_of_ties(probability_N[order_N])
    positives_N = np.cumsum(is_positive_N[order_N], dtype=np.int64)
    return probability_N[order_N][last_T], positives_N[last_T], last_T + 1 - positives_N[last_T]


def rankable(truth_N: NDArray[np.int64], labels: Sequence[int]) -> list[int]:
    """Those of the labels that some images show and others do not."""
    return [label for label in labels if 0 < (truth_N == label).sum() < len(truth_N)]


def _wins(is_positive_N: NDArray[np.bool_], probability_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the images of the other kind, how many each image is on the right side of; a tie counts half.

    Divided by the number of pairs these are placement values: those of the positives add up to the area under the
    curve, and so do those of the negatives.
    """
    win_N = np.empty(len(probability_N))
    for mine_N, sign in ((is_positive_N, 1), (~is_positive_N, -1)):
        own, other = sign * probability_N[mine_N], np.sort(sign * probability_N[~mine_N])
        win_N[mine_N] = (np.searchsorted(other, own, "left") + np.searchsorted(other, own, "right")) / 2
    return win_N


def _variance_of_sum(share_N: NDArray[np.float64], truth_N: NDArray[np.int64]) -> float:
    """Variance of the sum of independent terms that are alike within a class; classes of one image add nothing."""
    classes = [share_N[truth_N == label] for label in np.unique(truth_N)]
    return sum(len(share_M) * float(share_M.var(ddof=1)) for share_M in classes if len(share_M) > 1)


def _unbiased(n: int) -> float:
    """What makes a mean of squares of `n` deviations an unbiased variance."""
    return n / (n - 1)


def _precision_area(is_positive_N: NDArray[np.bool_], probability_N: NDArray[np.float64]) -> float:
    _, positives_T, negatives_T = cumulated(is_positive_N, probability_N)
    gained_T = np.diff(positives_T, prepend=0)
    return float((gained_T * positives_T / (positives_T + negatives_T)).sum() / positives_T[-1])


def _last_of_ties(sorted_N: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.flatnonzero(np.append(np.diff(sorted_N) != 0, True)[: len(sorted_N)])


def _corners(positives_T: NDArray[np.int64], negatives_T: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indexes of the points where the curve turns, and of its end."""
    right_T, up_T = np.diff(negatives_T, prepend=0), np.diff(positives_T, prepend=0)
    turns_T = right_T[:-1] * up_T[1:] != right_T[1:] * up_T[:-1]
    return np.flatnonzero(np.append(turns_T, True))

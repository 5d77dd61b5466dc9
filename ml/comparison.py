"""Comparison: whether one version is better than another on the same images, or only luckier.

All tests are paired: what counts is where the two differ. Images of one group may depend on each other; only McNemar's
test counts every image as independent.
"""

import math

import numpy as np
from numpy.typing import NDArray

from ml.config import Frozen
from ml.intervals import Z
from ml.ranking import auc_covariance

REPLICATES = 5_000
_SAME = 1e-14  # a variance below it is rounding


class McNemar(Frozen):
    """How many images one of the two alone has right, and how rarely chance divides them so unevenly."""

    only_first: int
    only_second: int
    p_value: float


class Difference(Frozen):
    """Second minus first, with its 95 % interval; None where it is undefined."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None


class Pair(Frozen):
    """Two versions on the same `n` images, which come in so many independent `units` (groups, or single images)."""

    n: int
    units: int
    mcnemar: McNemar
    accuracy: Difference
    auc: Difference


def compare(
    truth_N: NDArray[np.int64],
    decided_2N: NDArray[np.int64],
    probability_2N: NDArray[np.float64] | None,
    positive: int,
    group_N: NDArray[np.int64] | None = None,
) -> Pair:
    """Every paired test of two versions.

    `decided_2N` holds a class of each image for each of the two, `probability_2N` that of class `positive`; it is None
    where there are more than two classes. Equal numbers in `group_N` are images of one patient.
    """
    right_2N = decided_2N == truth_N
    units_N = np.arange(len(truth_N)) if group_N is None else group_N
    return Pair(
        n=len(truth_N),
        units=len(np.unique(units_N)),
        mcnemar=mcnemar(right_2N[0], right_2N[1]),
        accuracy=accuracy_difference(right_2N[0], right_2N[1], units_N),
        auc=Difference() if probability_2N is None else auc_difference(truth_N == positive, probability_2N, units_N),
    )


def mcnemar(first_right_N: NDArray[np.bool_], second_right_N: NDArray[np.bool_]) -> McNemar:
    """The exact test of McNemar (1947): of the images that one alone has right, each has half by chance."""
    first = int((first_right_N & ~second_right_N).sum())
    second = int((second_right_N & ~first_right_N).sum())
    return McNemar(only_first=first, only_second=second, p_value=_two_sided(min(first, second), first + second))


def auc_difference(
    is_positive_N: NDArray[np.bool_], probability_2N: NDArray[np.float64], group_N: NDArray[np.int64]
) -> Difference:
    """Difference of two areas under the ROC curve on the same images (DeLong, DeLong & Clarke-Pearson 1988).

    For groups of several images it is Obuchowski's extension (1997). Empty where the images of a class come from fewer
    than two groups: the variance is then unknown.
    """
    if min(len(np.unique(group_N[of_class_N])) for of_class_N in (is_positive_N, ~is_positive_N)) < 2:
        return Difference()
    area_2, covariance_22 = auc_covariance(is_positive_N, probability_2N, group_N)
    value = float(area_2[1] - area_2[0])
    variance = float(covariance_22[0, 0] + covariance_22[1, 1] - 2 * covariance_22[0, 1])
    if variance < _SAME:
        same = abs(value) < 1e-9
        return Difference(value=value, low=0.0, high=0.0, p_value=1.0) if same else Difference(value=value)
    deviation = math.sqrt(variance)
    return Difference(
        value=value,
        low=max(-1.0, value - Z * deviation),
        high=min(1.0, value + Z * deviation),
        p_value=math.erfc(abs(value) / deviation / math.sqrt(2)),
    )


def accuracy_difference(
    first_right_N: NDArray[np.bool_], second_right_N: NDArray[np.bool_], group_N: NDArray[np.int64], seed: int = 0
) -> Difference:
    """Difference of two accuracies with the percentile interval of a paired bootstrap (Efron & Tibshirani 1993).

    Both are drawn together, a group with all its images. Groups of equal size and gain are exchangeable, so how often
    each kind is drawn is multinomial: exact, and quick for any number of images.
    """
    if not len(group_N):
        return Difference()
    gain_N = second_right_N.astype(np.int64) - first_right_N
    _, group_N = np.unique(group_N, return_inverse=True)
    gain_G, size_G = np.bincount(group_N, gain_N).astype(np.int64), np.bincount(group_N)
    kind_T2, count_T = np.unique(np.stack([gain_G, size_G], axis=1), axis=0, return_counts=True)
    drawn_RT = np.random.default_rng(seed).multinomial(len(size_G), count_T / len(size_G), REPLICATES)
    total_R2 = drawn_RT @ kind_T2
    low, high = np.percentile(total_R2[:, 0] / total_R2[:, 1], [2.5, 97.5])
    return Difference(value=float(gain_N.mean()), low=float(low), high=float(high))


def _two_sided(fewer: int, n: int) -> float:
    """Twice the chance of at most `fewer` heads in `n` throws of a fair coin, at most 1."""
    logs = [
        math.lgamma(n + 1) - math.lgamma(heads + 1) - math.lgamma(n - heads + 1) - n * math.log(2)
        for heads in range(fewer + 1)
    ]
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))

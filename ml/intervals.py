"""Scores and their 95 % intervals: how far chance alone moves a figure with so many images.

Images count as independent of each other here; `ml.clusters` is for those that are not. A count may be a fraction: so
many independent images are worth as much.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ml.config import Frozen

Z = 1.959963984540054  # 97.5 % quantile of the normal distribution
REPLICATES = 1000


class Score(Frozen):
    """A figure with its 95 % interval; all None where it is undefined, such as a rate of no images."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


def proportion(successes: float, n: float) -> Score:
    """A share of `n` images, with Wilson's score interval (Wilson 1927; Brown, Cai & DasGupta 2001)."""
    if not n:
        return Score()
    share = successes / n
    center = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return Score(value=share, low=min(share, max(0.0, center - half)), high=max(share, min(1.0, center + half)))


def f1(true_positives: float, false_positives: float, false_negatives: float) -> Score:
    """F1 of one class. F1 = 2J / (1 + J) rises with J = TP / (TP + FP + FN), whose interval is Wilson's."""
    jaccard = proportion(true_positives, true_positives + false_positives + false_negatives)
    return Score(**{name: None if share is None else 2 * share / (1 + share) for name, share in jaccard})


def mean_of_independent(scores: Sequence[Score]) -> Score:
    """Mean of the defined ones among independent scores; distances to the bounds add up in quadrature.

    Known as MOVER, the method of variance estimates recovery (Donner & Zou 2012).
    """
    value_K, low_K, high_K = _defined(scores)
    if not len(value_K):
        return Score()
    mean, n = float(value_K.mean()), len(value_K)
    below, above = float(np.linalg.norm(value_K - low_K)) / n, float(np.linalg.norm(high_K - value_K)) / n
    return Score(value=mean, low=max(0.0, mean - below), high=min(1.0, mean + above))


def mean_of_dependent(scores: Sequence[Score]) -> Score:
    """Mean of the defined ones among scores of whatever dependence; the bounds are averaged, which is cautious."""
    value_K, low_K, high_K = _defined(scores)
    if not len(value_K):
        return Score()
    return Score(value=float(value_K.mean()), low=float(low_K.mean()), high=float(high_K.mean()))


def on_logit_scale(value: float, variance: float) -> Score:
    """An interval that stays within (0, 1); `value` lies strictly between them."""
    logit = math.log(value / (1 - value))
    half = Z * math.sqrt(variance) / (value * (1 - value))
    low, high = ((1 + math.tanh((logit + side * half) / 2)) / 2 for side in (-1, 1))
    return Score(value=value, low=low, high=high)


def newcombe_area(value: float, positives: float, negatives: float) -> Score:
    """An AUC with an interval that holds at 0 and 1, too: method 5 of Newcombe (2006), Statistics in Medicine 25:559.

    The bounds are the areas whose Hanley-McNeil variance puts them just Z standard errors away.
    """
    return Score(
        value=value,
        low=1 - _upper_area(1 - value, positives, negatives),
        high=_upper_area(value, positives, negatives),
    )


def _defined(scores: Sequence[Score]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    rows = [(score.value, score.low, score.high) for score in scores if score.value is not None]
    value_K, low_K, high_K = np.array(rows, np.float64).reshape(-1, 3).T
    return value_K, low_K, high_K


def _upper_area(value: float, positives: float, negatives: float) -> float:
    """The largest area that is not significantly above `value`, by bisection."""
    inside, outside = value, 1.0
    for _ in range(60):
        middle = (inside + outside) / 2
        if middle - value < Z * math.sqrt(_hanley_mcneil_variance(middle, positives, negatives)):
            inside = middle
        else:
            outside = middle
    return inside


def _hanley_mcneil_variance(area: float, positives: float, negatives: float) -> float:
    """With both class sizes in the bracket replaced by their mean, as Newcombe found best."""
    others = (positives + negatives) / 2 - 1
    spread = 1 + others * (1 - area) / (2 - area) + others * area / (1 + area)
    return area * (1 - area) * spread / (positives * negatives)

"""Net benefit: whether acting on the model does more good than acting on everybody or on nobody."""

import math

import numpy as np
from numpy.typing import NDArray

from ml.config import Frozen
from ml.intervals import Score

THRESHOLDS = tuple(round(0.01 * step, 2) for step in range(1, 100))


class DecisionCurve(Frozen):
    """Net benefit at each threshold, in true positives an image; that of acting on nobody is 0 throughout.

    `low` and `high` are the 95 % interval of `model` at the prevalence of these images, taken as given; they have no
    points where an earlier release scored.
    """

    thresholds: tuple[float, ...]
    model: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    treat_all: tuple[float, ...]
    treat_none: tuple[float, ...]


def decision_curve(is_positive_N: NDArray[np.bool_], probability_N: NDArray[np.float64]) -> DecisionCurve | None:
    """The curve of Vickers & Elkin (2006): TP/n - FP/n * t / (1 - t), where a probability of at least t is acted on.

    A threshold t says that one case found is worth (1 - t) / t false alarms. None without images of both classes.
    """
    n, positives = len(is_positive_N), int(is_positive_N.sum())
    if not 0 < positives < n:
        return None
    threshold_T = np.array(THRESHOLDS)
    weight_T = threshold_T / (1 - threshold_T)
    found_T = _at_least(probability_N[is_positive_N], threshold_T)
    alarms_T = _at_least(probability_N[~is_positive_N], threshold_T)
    return DecisionCurve(
        thresholds=THRESHOLDS,
        model=tuple(((found_T - weight_T * alarms_T) / n).tolist()),
        treat_all=tuple(((positives - weight_T * (n - positives)) / n).tolist()),
        treat_none=(0.0,) * len(THRESHOLDS),
    )


def by_rates(prevalence: float, threshold: float, found: Score, alarms: Score) -> Score:
    """Net benefit from the share of positive images acted on and that of the others, which come from other images.

    The distances of the two to their bounds add up in quadrature (MOVER, Donner & Zou 2012).
    """
    worth, cost = prevalence, (1 - prevalence) * threshold / (1 - threshold)
    right, right_low, right_high = _bounds(found)
    wrong, wrong_low, wrong_high = _bounds(alarms)
    value = worth * right - cost * wrong
    below = math.hypot(worth * (right - right_low), cost * (wrong_high - wrong))
    above = math.hypot(worth * (right_high - right), cost * (wrong - wrong_low))
    return Score(value=value, low=value - below, high=value + above)


def _bounds(score: Score) -> tuple[float, float, float]:
    return score.value or 0.0, score.low or 0.0, score.high or 0.0


def _at_least(probability_M: NDArray[np.float64], threshold_T: NDArray[np.float64]) -> NDArray[np.int64]:
    return len(probability_M) - np.searchsorted(np.sort(probability_M), threshold_T, side="left")

"""Net benefit: whether acting on the model does more good than acting on everybody or on nobody."""

import numpy as np
from numpy.typing import NDArray

from ml.config import Frozen

THRESHOLDS = tuple(round(0.01 * step, 2) for step in range(1, 100))


class DecisionCurve(Frozen):
    """Net benefit at each threshold, in true positives an image; that of acting on nobody is 0 throughout."""

    thresholds: tuple[float, ...]
    model: tuple[float, ...]
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


def _at_least(probability_M: NDArray[np.float64], threshold_T: NDArray[np.float64]) -> NDArray[np.int64]:
    return len(probability_M) - np.searchsorted(np.sort(probability_M), threshold_T, side="left")

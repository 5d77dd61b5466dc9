"""Decisions: from probabilities to a class, and the operating point at which a positive one is made."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.config import Frozen
from ml.ranking import cumulated

DEFAULT_THRESHOLD = 0.5


class OperatingPoint(Frozen):
    """The probability from which on an image is called positive, and how it was chosen."""

    threshold: float
    target: Literal["youden"] = "youden"
    chosen_on: Literal["validation"] = "validation"


def choose_threshold(is_positive_N: NDArray[np.bool_], probability_N: NDArray[np.floating]) -> OperatingPoint | None:
    """The operating point of the highest sensitivity + specificity - 1 (Youden 1950); call it with validation images.

    Of equal points the most sensitive one is taken. The threshold lies midway to the next probability, so that rounding
    elsewhere turns no decision. None where one of the two classes is absent or no threshold does better than chance.
    """
    threshold_T, positives_T, negatives_T = cumulated(is_positive_N, probability_N.astype(np.float64))
    if len(threshold_T) < 2:
        return None
    youden_T = positives_T * negatives_T[-1] - negatives_T * positives_T[-1]  # in whole numbers: ties are exact
    best = np.flatnonzero(youden_T == youden_T.max())[-1]
    if youden_T[best] <= 0:
        return None
    return OperatingPoint(threshold=float(threshold_T[best] + threshold_T[best + 1]) / 2)


def decide(
    probabilities_NK: NDArray[np.floating],
    classes: Sequence[str],
    positive_class: str | None,
    operating_point: OperatingPoint | None,
) -> NDArray[np.int64]:
    """The column of each image's class: the positive one from the threshold on, else the most probable one.

    The threshold is 0.5 where there is no operating point; it is not used where there is no positive class.
    """
    if positive_class is None:
        return probabilities_NK.argmax(axis=1)
    positive = classes.index(positive_class)
    threshold = operating_point.threshold if operating_point else DEFAULT_THRESHOLD
    return np.where(probabilities_NK[:, positive].astype(np.float64) >= threshold, positive, 1 - positive)

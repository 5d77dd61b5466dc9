"""Decisions: from probabilities to a class, and the operating point at which a positive one is made."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ml.config import Frozen
from ml.ranking import cumulated

DEFAULT_THRESHOLD = 0.5
_ROUNDING = 1e-9  # 0.9 of 10 images is 9, whatever binary fractions say


class OperatingPoint(Frozen):
    """The probability from which on an image is called positive, and how it was chosen."""

    threshold: float
    target: str = Field("youden", pattern=r"^(youden|(sensitivity|specificity) >= [\d.e-]+)$")
    chosen_on: Literal["validation"] = "validation"


def choose_threshold(
    is_positive_N: NDArray[np.bool_],
    probability_N: NDArray[np.floating],
    target: Literal["youden", "sensitivity", "specificity"] = "youden",
    value: float = 0.90,
) -> OperatingPoint | None:
    """The operating point of the target; call it with validation images, never with those that report.

    youden: the highest sensitivity + specificity - 1 (Youden 1950); of equal points the most sensitive one.
    sensitivity: the highest threshold whose sensitivity is at least `value`.
    specificity: the lowest threshold whose specificity is at least `value`.
    The threshold lies midway to the next probability, so that rounding elsewhere turns no decision. None where one of
    the two classes is absent, all probabilities agree, or (youden) no threshold does better than chance.
    """
    threshold_T, positives_T, negatives_T = cumulated(is_positive_N, probability_N.astype(np.float64))
    if len(threshold_T) < 2 or not positives_T[-1] or not negatives_T[-1]:
        return None
    if target == "youden":
        youden_T = positives_T * negatives_T[-1] - negatives_T * positives_T[-1]  # in whole numbers: ties are exact
        best = int(np.flatnonzero(youden_T == youden_T.max())[-1])
        return OperatingPoint(threshold=_below(threshold_T, best)) if youden_T[best] > 0 else None
    if target == "sensitivity":
        best = int(np.flatnonzero(positives_T >= value * positives_T[-1] - _ROUNDING)[0])
    else:
        best = int((negatives_T <= (1 - value) * negatives_T[-1] + _ROUNDING).sum()) - 1
    return OperatingPoint(threshold=_below(threshold_T, best), target=f"{target} >= {_written(value)}")


def _below(threshold_T: NDArray[np.float64], best: int) -> float:
    """A threshold that lets in the probabilities up to index `best` of the falling ones; -1: none of them."""
    above = 1.0 if threshold_T[0] < 1 else float(np.nextafter(threshold_T[0], np.inf))
    bounds = np.concatenate([[above], threshold_T, [0.0]])
    return float(bounds[best + 1] + bounds[best + 2]) / 2 if best >= 0 or above == 1 else above


def _written(value: float) -> str:
    return f"{value:.2f}" if abs(value - round(value, 2)) < 1e-12 else f"{value:g}"


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

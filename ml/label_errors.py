"""Label errors: the images whose given label a version doubts most, as suggestions for a person.

Confident learning: Northcutt, Jiang & Chuang (2021), Journal of Artificial Intelligence Research 70:1373. The rule
holds only for probabilities of images that the version did not learn from.
"""

import numpy as np
from numpy.typing import NDArray

from ml.config import Frozen


class Doubt(Frozen):
    """Image `index` of those judged, and the class that it is suspected to show: columns of the probabilities.

    `margin` is the probability of the given label less that of the suggested one: the lower, the more doubtful.
    """

    index: int
    given: int
    suggested: int
    margin: float


def thresholds(truth_N: NDArray[np.int64], probabilities_NK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each class's mean self-confidence: its mean probability on the images that are labelled so; infinite without."""
    classes = range(probabilities_NK.shape[1])
    of_class = [probabilities_NK[truth_N == label, label] for label in classes]
    return np.array([own_M.mean() if len(own_M) else np.inf for own_M in of_class], np.float64)


def suspects(truth_N: NDArray[np.int64], probabilities_NK: NDArray[np.float64]) -> list[Doubt]:
    """The images that count as another class than their label, most doubtful first.

    An image counts as the most probable of the classes whose threshold its probability reaches (equation 1 of the
    paper); where it reaches none, nothing is said of it.
    """
    is_counted_NK = probabilities_NK >= thresholds(truth_N, probabilities_NK)
    counted_N = np.where(is_counted_NK, probabilities_NK, -1.0).argmax(axis=1)
    found = [
        Doubt(
            index=int(index),
            given=int(truth_N[index]),
            suggested=int(counted_N[index]),
            margin=float(probabilities_NK[index, truth_N[index]] - probabilities_NK[index, counted_N[index]]),
        )
        for index in np.flatnonzero(is_counted_NK.any(axis=1) & (counted_N != truth_N))
    ]
    return sorted(found, key=lambda doubt: (doubt.margin, doubt.index))

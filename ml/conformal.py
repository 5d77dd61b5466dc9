"""Conformal sets: instead of one class, those that cannot be ruled out, with a promised share of sets that hold it."""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.config import Frozen
from ml.intervals import Score

ALPHAS = (0.10, 0.05)
_ROUNDING = 1e-6  # probabilities are float32


class ConformalRule(Frozen):
    """A class belongs to an image's set where its probability is at least `threshold`.

    Of new images like the `n` that fixed it, a share of 1 - `alpha` or more has a set that holds the truth.
    """

    alpha: float
    threshold: float
    n: int
    fitted_on: Literal["validation"] = "validation"


class ConformalScores(Frozen):
    """What the sets of a rule are like on images that did not fix it."""

    alpha: float
    threshold: float
    coverage: Score  # share of sets that hold the truth; 1 - alpha or more is promised
    mean_set_size: float | None
    singletons: float | None  # share of sets of one class
    empty: float | None  # share of sets without any
    set_size: Score = Score()  # the three once more, with their intervals; empty where an earlier release scored
    one_class: Score = Score()
    no_class: Score = Score()


def fit(truth_N: NDArray[np.int64], probabilities_NK: NDArray[np.floating]) -> tuple[ConformalRule, ...]:
    """One rule for each of `ALPHAS`; call it with validation images. None of them without images."""
    n = len(truth_N)
    if not n:
        return ()
    return tuple(
        ConformalRule(alpha=alpha, threshold=threshold(alpha, truth_N, probabilities_NK), n=n) for alpha in ALPHAS
    )


def threshold(alpha: float, truth_N: NDArray[np.int64], probabilities_NK: NDArray[np.floating]) -> float:
    """The probability from which on a class belongs to a set; call it with validation images, one at least.

    Split conformal prediction (Papadopoulos et al. 2002) with the score 1 - probability of the truth (Sadinle et al.
    2019): the threshold is the k-th lowest probability of a truth, k = floor((n + 1) * alpha). Too few images promise
    nothing: the threshold is then 0 and every set holds all classes.
    """
    n = len(truth_N)
    sorted_N = np.sort(np.asarray(probabilities_NK, np.float64)[np.arange(n), truth_N])
    rank = math.floor((n + 1) * alpha + 1e-9)
    return max(0.0, float(sorted_N[rank - 1]) - _ROUNDING) if rank else 0.0


def sets(rule: ConformalRule, probabilities_NK: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which classes are in the set of each image, as is_in_NK."""
    return np.asarray(probabilities_NK, np.float64) >= rule.threshold


def scores(rule: ConformalRule, coverage: Score, set_size: Score, one_class: Score, no_class: Score) -> ConformalScores:
    """The rule's scores, each with its interval."""
    return ConformalScores(
        alpha=rule.alpha,
        threshold=rule.threshold,
        coverage=coverage,
        mean_set_size=set_size.value,
        singletons=one_class.value,
        empty=no_class.value,
        set_size=set_size,
        one_class=one_class,
        no_class=no_class,
    )

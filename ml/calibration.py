"""Calibration: whether of the images given 80 % about 80 % are what was said."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml import recalibration
from ml.config import Frozen
from ml.intervals import Score
from ml.recalibration import Coefficient

BINS = 10


class CalibrationBin(Frozen):
    """Images whose probability is at least `low` and below `high` (the last bin holds 1, too)."""

    low: float
    high: float
    n: int
    mean_probability: float | None  # None in an empty bin
    frequency: float | None
    observed: Score = Score()  # the frequency with its interval; empty where an earlier release scored


class Calibration(Frozen):
    """How far probabilities can be believed; 0 is best. None where there is no image."""

    of: Literal["positive class", "decided class"]  # whose probability the bins hold
    brier: float | None  # mean squared error; of many classes the sum over them, up to 2 (Brier 1950)
    ece: float | None  # expected calibration error: mean distance of frequency and probability (Guo et al. 2017)
    bins: tuple[CalibrationBin, ...]
    slope: Coefficient = Coefficient()  # 1 is best; see `ml.recalibration`
    intercept: Coefficient = Coefficient()  # 0 is best


def bin_of(probability_N: NDArray[np.float64]) -> NDArray[np.int64]:
    """The number of the bin that each probability lies in."""
    return np.minimum((probability_N * BINS).astype(np.int64), BINS - 1)


def of_positive_class(
    is_positive_N: NDArray[np.bool_], probability_N: NDArray[np.float64], group_N: NDArray[np.int64] | None = None
) -> Calibration:
    """Calibration of the probability of the positive class; images of one group are not independent."""
    squares_N = (probability_N - is_positive_N) ** 2
    return _calibration("positive class", squares_N, is_positive_N, probability_N, group_N)


def of_decided_class(
    truth_N: NDArray[np.int64],
    probabilities_NK: NDArray[np.float64],
    decided_N: NDArray[np.int64],
    group_N: NDArray[np.int64] | None = None,
) -> Calibration:
    """Calibration of the probability of whichever class was decided for."""
    of_decided_N = probabilities_NK[np.arange(len(truth_N)), decided_N]
    return _calibration(
        "decided class", squares(truth_N, probabilities_NK), decided_N == truth_N, of_decided_N, group_N
    )


def squares(truth_N: NDArray[np.int64], probabilities_NK: NDArray[np.float64]) -> NDArray[np.float64]:
    """The squared error of each image, summed over all classes; its mean is the Brier score of many classes."""
    is_truth_NK = np.zeros_like(probabilities_NK)
    is_truth_NK[np.arange(len(truth_N)), truth_N] = 1
    squares_N: NDArray[np.float64] = ((probabilities_NK - is_truth_NK) ** 2).sum(axis=1)
    return squares_N


def _calibration(
    of: Literal["positive class", "decided class"],
    squares_N: NDArray[np.float64],
    happened_N: NDArray[np.bool_],
    probability_N: NDArray[np.float64],
    group_N: NDArray[np.int64] | None,
) -> Calibration:
    if not len(squares_N):
        return Calibration(of=of, brier=None, ece=None, bins=())
    bin_N = bin_of(probability_N)
    bins = tuple(_bin(number, happened_N[bin_N == number], probability_N[bin_N == number]) for number in range(BINS))
    gaps = sum(one.n * abs(one.frequency - one.mean_probability) for one in bins if one.n)  # type: ignore[operator]
    slope, intercept = recalibration.slope_and_intercept(happened_N, probability_N, group_N)
    return Calibration(
        of=of,
        brier=float(squares_N.mean()),
        ece=float(gaps) / len(squares_N),
        bins=bins,
        slope=slope,
        intercept=intercept,
    )


def _bin(number: int, happened_M: NDArray[np.bool_], probability_M: NDArray[np.float64]) -> CalibrationBin:
    n = len(happened_M)
    return CalibrationBin(
        low=number / BINS,
        high=(number + 1) / BINS,
        n=n,
        mean_probability=float(probability_M.mean()) if n else None,
        frequency=float(happened_M.mean()) if n else None,
    )

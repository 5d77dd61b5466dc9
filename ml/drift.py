"""Drift: whether the answers of a version still spread as they did on its validation split.

The score of an image is its probability of the positive class, or of the answered class where there is no positive one.
Everything is compared on a grid of four digits, so that a database may count the scores.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.config import Frozen
from ml.decisions import OperatingPoint, decide

GRID = 10_000
KEPT = 500  # scores at most that a card keeps of its validation split
BINS = 10
LEAST = 50  # images on either side before anything is claimed
MODERATE, LARGE = 0.1, 0.25  # rule of thumb for a PSI (Siddiqi 2006, Credit Risk Scorecards)
Z95 = 1.6448536269514722  # 95 % quantile of the normal distribution

Level = Literal["too few", "none", "moderate", "large"]


@dataclass(frozen=True)
class Sample:
    """Scores, rising, with how many images have each; images by answered class."""

    score_N: NDArray[np.float64]
    count_N: NDArray[np.float64]
    answered: Mapping[str, int]

    @property
    def n(self) -> int:
        return sum(self.answered.values())


class Reference(Frozen):
    """The scores of a validation split as a card keeps them: all of up to `KEPT`, else as many even quantiles."""

    scores: tuple[float, ...]
    answered: dict[str, int]

    def sample(self) -> Sample:
        n = sum(self.answered.values())
        score_N = np.array(self.scores, np.float64)
        return Sample(score_N, np.full(len(score_N), n / max(1, len(score_N))), self.answered)


class Shift(Frozen):
    """How far one spread moved from another.

    `psi` is the population stability index over `bins`; without any drift 95 % of its values lie below `chance`.
    Both are None where one side has too few images.
    """

    level: Level
    psi: float | None = None
    chance: float | None = None
    bins: int = 0


class TwoSampleTest(Frozen):
    """The two-sample test of Kolmogorov and Smirnov."""

    distance: float
    p_value: float


class Drift(Frozen):
    """What `n` images moved from those of before: their scores, and the classes that they were answered with."""

    n: int
    scores: Shift
    answers: Shift
    test: TwoSampleTest | None = None


def reference(
    probabilities_NK: NDArray[np.floating],
    classes: Sequence[str],
    positive_class: str | None,
    operating_point: OperatingPoint | None,
) -> Reference:
    """What to remember of the answers on a validation split."""
    decided_N = decide(probabilities_NK, classes, positive_class, operating_point)
    column_N = decided_N if positive_class is None else np.full(len(decided_N), classes.index(positive_class))
    score_N = np.sort(np.round(probabilities_NK[np.arange(len(column_N)), column_N].astype(np.float64) * GRID) / GRID)
    counts = np.bincount(decided_N, minlength=len(classes)).tolist()
    return Reference(scores=tuple(kept(score_N).tolist()), answered=dict(zip(classes, counts, strict=True)))


def kept(rising_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """All of up to `KEPT` values, else as many even quantiles."""
    if len(rising_N) <= KEPT:
        return rising_N
    return np.quantile(rising_N, (np.arange(KEPT) + 0.5) / KEPT, method="inverted_cdf")


def compare(before: Sample, after: Sample) -> Drift:
    """What moved between the two, and how sure that is."""
    if min(before.n, after.n) < LEAST:
        few = Shift(level="too few")
        return Drift(n=after.n, scores=few, answers=few)
    classes = sorted({*before.answered, *after.answered})
    by_class = [np.array([side.answered.get(label, 0) for label in classes], float) for side in (before, after)]
    return Drift(
        n=after.n,
        scores=shift(*by_decile(before, after)),
        answers=shift(*by_class),
        test=kolmogorov_smirnov(before, after),
    )


def shift(before_B: NDArray[np.floating], after_B: NDArray[np.floating]) -> Shift:
    """The PSI of counts in the same bins: the sum of (q - p) ln(q / p) over shares p before and q after.

    Each bin gets half an image on either side, so that an empty one is no infinity; bins that are empty on both are
    left out. Without drift the PSI is distributed as (1/n + 1/m) times chi-square with one degree of freedom less than
    bins (Yurdakul 2018, Statistical Properties of Population Stability Index); a level is claimed only above the 95 %
    quantile of that.
    """
    is_used_B = before_B + after_B > 0
    p_B, q_B = ((counts_B[is_used_B] + 0.5) / (counts_B[is_used_B] + 0.5).sum() for counts_B in (before_B, after_B))
    psi, bins = float(((q_B - p_B) * np.log(q_B / p_B)).sum()), int(is_used_B.sum())
    chance = (1 / before_B.sum() + 1 / after_B.sum()) * _chi_square_95(bins - 1)
    level: Level = "none" if psi < MODERATE or psi <= chance else "moderate" if psi < LARGE else "large"
    return Shift(level=level, psi=psi, chance=float(chance), bins=bins)


def by_decile(before: Sample, after: Sample) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Images in bins that hold a tenth of those before each; fewer bins where many have the same score."""
    shares = np.arange(1, BINS) / BINS
    edges = np.unique(np.quantile(before.score_N, shares, weights=before.count_N, method="inverted_cdf"))
    before_B, after_B = (
        np.bincount(np.searchsorted(edges, side.score_N), side.count_N, len(edges) + 1).astype(np.float64)
        for side in (before, after)
    )
    return before_B, after_B


def kolmogorov_smirnov(before: Sample, after: Sample) -> TwoSampleTest:
    """The largest distance of the two empirical distributions, and how often chance alone makes it as large.

    The p-value is the asymptotic one (Smirnov 1948) with the correction for small samples of Stephens (1970, Journal of
    the Royal Statistical Society B 32:115). Equal scores make it larger than it need be.
    """
    at_M = np.union1d(before.score_N, after.score_N)
    distance = float(np.abs(_distribution(before, at_M) - _distribution(after, at_M)).max())
    root = math.sqrt(before.n * after.n / (before.n + after.n))
    return TwoSampleTest(distance=distance, p_value=kolmogorov_tail((root + 0.12 + 0.11 / root) * distance))


def kolmogorov_tail(x: float) -> float:
    """P(K > x) of Kolmogorov's distribution: 2 times the sum over j >= 1 of (-1)^(j-1) exp(-2 j^2 x^2)."""
    if x < 0.2:
        return 1.0  # to 12 digits; the series needs many terms there
    j_M = np.arange(1, 101)
    return float(np.clip(2 * ((-1.0) ** (j_M - 1) * np.exp(-2 * (j_M * x) ** 2)).sum(), 0, 1))


def histogram(sample: Sample, bins: int = 20, most: float = 1.0) -> list[float]:
    """The share of images in each of `bins` equal parts from 0 to `most`; what is more is in the last one."""
    counts_B, _ = np.histogram(sample.score_N.clip(max=most), bins, (0, most), weights=sample.count_N)
    return [float(count) / max(1, sample.n) for count in counts_B]


def _distribution(sample: Sample, at_M: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of images whose score is at most each of `at_M`."""
    upto_N = np.concatenate([[0.0], np.cumsum(sample.count_N)])
    return upto_N[np.searchsorted(sample.score_N, at_M, side="right")] / upto_N[-1]


def _chi_square_95(degrees: int) -> float:
    """The 95 % quantile of chi-square (Wilson & Hilferty 1931), within 1 % from two degrees on; 0 of none."""
    if degrees < 1:
        return 0.0
    spread = 2 / (9 * degrees)
    return degrees * (1 - spread + Z95 * math.sqrt(spread)) ** 3

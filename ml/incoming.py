"""What comes in: whether images are as far from the training images as those of validation were.

The distances are the guard's two (`ml.domain`), in parts of their limits: of an image outside the domain one exceeds 1.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.config import Frozen
from ml.drift import LEAST, Level, Sample, Shift, TwoSampleTest, by_decile, kept, kolmogorov_smirnov, shift
from ml.intervals import Score, proportion

GRID = 1_000  # three digits, so that a database may count distances
MANY_OUTSIDE = 0.25

Kind = Literal["embedding", "look"]
KINDS: tuple[Kind, ...] = ("embedding", "look")  # in the order of the guard's limits


class Distances(Frozen):
    """The distances of `n` images of validation as a card keeps them: of up to 500 all, else as many even quantiles."""

    n: int
    embedding: tuple[float, ...]
    look: tuple[float, ...]

    @staticmethod
    def of(distances_2N: NDArray[np.floating]) -> "Distances":
        rising_2N = np.sort(np.round(distances_2N.astype(np.float64) * GRID) / GRID, axis=1)
        return Distances(
            n=rising_2N.shape[1],
            **{kind: tuple(kept(rising_N).tolist()) for kind, rising_N in zip(KINDS, rising_2N, strict=True)},
        )

    def sample(self, kind: Kind) -> Sample:
        distance_N = np.array(getattr(self, kind), np.float64)
        return counted(distance_N, np.full(len(distance_N), self.n / max(1, len(distance_N))))


def counted(distance_N: NDArray[np.float64], count_N: NDArray[np.float64]) -> Sample:
    """Distances, rising, with how many images have each."""
    return Sample(distance_N, count_N, {"": round(float(count_N.sum()))})


class Moved(Frozen):
    """How far the distances of `n` images moved from those on validation."""

    n: int
    shift: Shift
    test: TwoSampleTest | None = None


class Outside(Frozen):
    """How many of `n` images lay outside the domain, and whether that is more than on validation."""

    n: int
    outside: int
    share: Score
    level: Level


def moved(before: Sample, after: Sample) -> Moved:
    """What moved between the two, and how sure that is."""
    if min(before.n, after.n) < LEAST:
        return Moved(n=after.n, shift=Shift(level="too few"))
    return Moved(n=after.n, shift=shift(*by_decile(before, after)), test=kolmogorov_smirnov(before, after))


def outside(count: int, n: int, validated: int, within: float) -> Outside:
    """Of `n` images `count` lay outside; of so many images of validation a share was within.

    More than on validation are claimed only where the two 95 % intervals are apart; a quarter of all images is large.
    """
    share, before = proportion(count, n), proportion(round(validated * (1 - within)), validated)
    return Outside(n=n, outside=count, share=share, level=_level(share, before, min(n, validated)))


def _level(share: Score, before: Score, n: int) -> Level:
    if n < LEAST or share.value is None or share.low is None or before.high is None:
        return "too few"
    if share.low <= before.high:
        return "none"
    return "large" if share.value >= MANY_OUTSIDE else "moderate"

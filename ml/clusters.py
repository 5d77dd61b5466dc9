"""Clusters: images of one group (patient) are alike, so chance acts on groups, not on images.

The intervals come from a bootstrap that draws whole groups (Field & Welsh 2007; for ROC curves Rutter 2000).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.intervals import REPLICATES, Score, Z

_ELEMENTS = 200_000  # draws x images worked on at once, to stay within the processor's cache


@dataclass(frozen=True)
class Clusters:
    """Which group each image belongs to, and the stratum from which each group is drawn."""

    group_N: NDArray[np.int64]
    stratum_G: NDArray[np.int64]

    @staticmethod
    def of(truth_N: NDArray[np.int64], groups: Sequence[str | None] | None = None) -> "Clusters":
        """The clusters of images of these classes; an image without a group is a group of its own.

        A stratum is a class, for groups all of whose images show it; groups of several classes share one stratum.
        A stratum of one group, which could only ever be drawn whole, joins the largest.
        """
        names = list(groups) if groups is not None else [None] * len(truth_N)
        if len(names) != len(truth_N):
            raise ValueError(f"{len(truth_N)} images have {len(names)} groups.")
        numbers: dict[object, int] = {}
        keys: list[object] = [(at,) if name is None else name for at, name in enumerate(names)]
        group_N = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
        low_G, high_G = _extreme(np.minimum, truth_N, group_N), _extreme(np.maximum, truth_N, group_N)
        stratum_G = np.where(low_G == high_G, low_G, -1)
        strata, counts = np.unique(stratum_G, return_counts=True)
        if len(strata):
            stratum_G[np.isin(stratum_G, strata[counts < 2])] = strata[counts.argmax()]
        return Clusters(group_N, stratum_G)

    @property
    def n(self) -> int:
        """How many groups."""
        return len(self.stratum_G)

    @property
    def is_clustered(self) -> bool:
        """Whether any group has more than one image."""
        return self.n < len(self.group_N)

    @property
    def scale(self) -> float:
        """Independent images that one image is worth if those of a group are all alike (Kish 1965); 1 without groups.

        The cautious extreme, used where a bootstrap learns nothing.
        """
        size_G = np.bincount(self.group_N, minlength=1).astype(float)
        return float(len(self.group_N) / max(1.0, (size_G**2).sum()))

    def holding(self, chosen_N: NDArray[np.bool_]) -> int:
        """How many groups hold at least one of the chosen images."""
        return len(np.unique(self.group_N[chosen_N]))

    def lowest(self, value_N: NDArray[Any]) -> NDArray[Any]:
        """The lowest value of each group's images."""
        return _extreme(np.minimum, value_N, self.group_N)

    def highest(self, value_N: NDArray[Any]) -> NDArray[Any]:
        """The highest value of each group's images."""
        return _extreme(np.maximum, value_N, self.group_N)

    def draws(self, seed: int = 0) -> Iterator[NDArray[np.float32]]:
        """How often each image was drawn, weight_BN, a part of the `REPLICATES` draws at a time. Repeatable."""
        random = np.random.default_rng(seed)
        members = [np.flatnonzero(self.stratum_G == stratum) for stratum in np.unique(self.stratum_G)]
        step = max(1, min(REPLICATES, _ELEMENTS // max(1, len(self.group_N))))
        for start in range(0, REPLICATES, step):
            size = min(step, REPLICATES - start)
            weight_BG = np.zeros((size, len(self.stratum_G)), np.float32)  # whole numbers, exact up to 2**24
            for group_M in members:
                weight_BG[:, group_M] = _counts(random, size, len(group_M))
            yield weight_BG.take(self.group_N, axis=1)


def interval(drawn_B: NDArray[np.float64], units: int, fallback: Score) -> Score:
    """`fallback`'s value with the bounds of the draws: the expanded percentile interval of Hesterberg (2015).

    Its percentiles lie further out than 2.5 and 97.5, as Student's distribution would have it for `units` groups, for
    the plain ones are too narrow for few. Draws in which the score is undefined (NaN) do not count. The bounds of
    `fallback` stay where fewer than two groups were drawn or all draws agree, as they do for a perfect score.
    """
    known_B = drawn_B[np.isfinite(drawn_B)]
    if fallback.value is None or units < 2 or not len(known_B) or known_B.max() - known_B.min() < 1e-12:
        return fallback
    tail = NormalDist().cdf(-math.sqrt(units / (units - 1)) * _student(units - 1))
    low, high = np.percentile(known_B, [100 * tail, 100 * (1 - tail)])
    return Score(value=fallback.value, low=min(float(low), fallback.value), high=max(float(high), fallback.value))


def _extreme(which: np.ufunc, value_N: NDArray[Any], group_N: NDArray[np.int64]) -> NDArray[Any]:
    """The lowest or highest value of each group; groups are numbered from 0 without gaps."""
    order_N = np.argsort(group_N, kind="stable")
    first_G = np.flatnonzero(np.diff(group_N[order_N], prepend=-1))
    found_G: NDArray[Any] = which.reduceat(value_N[order_N], first_G) if len(first_G) else value_N[:0]
    return found_G


def _counts(random: np.random.Generator, size: int, n: int) -> NDArray[np.int64]:
    """How often each of `n` was drawn in `size` draws of `n`."""
    drawn_BM = random.integers(0, n, (size, n))
    drawn_BM += np.arange(size)[:, None] * n
    return np.bincount(drawn_BM.ravel(), minlength=size * n).reshape(size, n)


def _student(freedom: int) -> float:
    """97.5 % quantile of Student's distribution: exact for one and two degrees of freedom, else to three digits.

    The expansion is that of Abramowitz & Stegun (1964), 26.7.5.
    """
    if freedom == 1:
        return math.tan(math.pi * 0.475)
    if freedom == 2:
        return 0.95 * math.sqrt(2 / (1 - 0.95**2))
    first = (Z**3 + Z) / 4
    second = (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96
    third = (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384
    fourth = (79 * Z**9 + 776 * Z**7 + 1482 * Z**5 - 1920 * Z**3 - 945 * Z) / 92160
    return Z + first / freedom + second / freedom**2 + third / freedom**3 + fourth / freedom**4

"""Quartiles: a column of many numbers as four ranges, each named by the lowest and the highest number in it."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MISSING = frozenset({"", "-", "?", "na", "n/a", "nan", "none", "null", "unknown"})  # words that stand for no number


def ranges(values: Sequence[str], missing: str) -> list[str] | None:
    """The range of each value; `missing` where it has no number. None where a value is a text.

    The ranges hold about a quarter of the numbers each; equal numbers are in one range, so there may be fewer.
    """
    numbers: list[float] = []
    for value in values:
        found = number(value)
        if found is None:
            return None
        numbers.append(found)
    number_N = np.array(numbers, float)
    known_M = number_N[np.isfinite(number_N)]
    bound_Q = _bounds(known_M)
    written = {found: value.strip() for found, value in zip(numbers, values, strict=True)}
    place_M = np.searchsorted(bound_Q, known_M, side="left")
    names = {}
    for place in np.unique(place_M):
        inside_M = known_M[place_M == place]
        low, high = written[float(inside_M.min())], written[float(inside_M.max())]
        names[int(place)] = low if low == high else f"{low}–{high}"
    return [
        names[int(np.searchsorted(bound_Q, found, side="left"))] if np.isfinite(found) else missing
        for found in number_N.tolist()
    ]


def number(value: str) -> float | None:
    """The number that a text is; NaN where it says that there is none, None where it says something else."""
    text = value.strip()
    if text.lower() in MISSING:
        return math.nan
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) and "_" not in text else None


def _bounds(known_M: NDArray[np.float64]) -> NDArray[np.float64]:
    """The highest numbers of the first three quarters, without those that would leave the last one empty."""
    if not len(known_M):
        return known_M
    bound_Q = np.unique(np.quantile(known_M, [0.25, 0.5, 0.75], method="inverted_cdf"))
    below_Q = bound_Q[bound_Q < known_M.max()]
    if len(below_Q) or known_M.min() == known_M.max():
        return below_Q
    return known_M[known_M < known_M.max()].max(keepdims=True)

"""Subgroups: how a version scores where the images differ in something other than their class."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ml import ranking
from ml.config import Frozen
from ml.intervals import Score, proportion
from ml.manifest import ImageRow

MAX_VALUES = 20
NO_VALUE = "(none)"
METADATA = "metadata:"
_LONG = 100  # characters of a value that is shown


class Subgroup(Frozen):
    """The scores of the `n` images with one value; what they do not define is empty."""

    value: str
    n: int
    accuracy: Score
    sensitivity: Score
    specificity: Score
    auc: Score


def columns(rows: Sequence[ImageRow]) -> dict[str, list[str]]:
    """What the images can be told apart by: each column's value of every image, at most `MAX_VALUES` different ones.

    The split, the number of images of the same group, and the metadata, whose names follow `metadata:`. A column in
    which all images agree tells nothing and is left out.
    """
    found: dict[str, list[str]] = {"split": [row.split for row in rows], "group_size": _group_sizes(rows)}
    for key in sorted({key for row in rows for key in row.metadata}):
        found[METADATA + key] = [row.metadata.get(key, "").strip()[:_LONG] or NO_VALUE for row in rows]
    return {name: values for name, values in found.items() if 2 <= len(set(values)) <= MAX_VALUES}


def scores(
    values: Sequence[str],
    truth_N: NDArray[np.int64],
    decided_N: NDArray[np.int64],
    probabilities_NK: NDArray[np.float64],
    positive: int | None,
) -> list[Subgroup]:
    """The scores of each value, those of numbers in their order. `positive` is a column of the probabilities."""
    value_N = np.array(values)
    result = []
    for value in sorted(set(values), key=_in_order):
        of_value_N = value_N == value
        truth_M, decided_M = truth_N[of_value_N], decided_N[of_value_N]
        right_M = truth_M == decided_M
        labels = range(probabilities_NK.shape[1]) if positive is None else [positive]
        result.append(
            Subgroup(
                value=value,
                n=len(truth_M),
                accuracy=proportion(int(right_M.sum()), len(right_M)),
                sensitivity=Score() if positive is None else _share(right_M[truth_M == positive]),
                specificity=Score() if positive is None else _share(right_M[truth_M != positive]),
                auc=ranking.auc(truth_M, probabilities_NK[of_value_N], labels),
            )
        )
    return result


def _share(right_M: NDArray[np.bool_]) -> Score:
    return proportion(int(right_M.sum()), len(right_M))


def _group_sizes(rows: Sequence[ImageRow]) -> list[str]:
    """How many of the images are of the same group, in steps that double: '1', '2', '3–4', '5–8'."""
    groups = [row.group for row in rows]
    counts: dict[str | None, int] = {}
    for group in groups:
        counts[group] = counts.get(group, 0) + 1
    return [NO_VALUE if group is None else _step(counts[group]) for group in groups]


def _step(n: int) -> str:
    high = 1 << (n - 1).bit_length()
    return str(high) if high < 3 else f"{high // 2 + 1}–{high}"


def _in_order(value: str) -> tuple[float, str]:
    """Numbers and ranges by their start, then words, then what has no value."""
    try:
        return float(value.split("–")[0]), value
    except ValueError:
        return float("inf"), "\uffff" if value == NO_VALUE else value

"""Subgroups: how a version scores where the images differ in something other than their class."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ml import quartiles
from ml.clusters import Clusters
from ml.config import Frozen
from ml.intervals import Score
from ml.manifest import ImageRow
from ml.settled import Settled

MAX_VALUES = 20
NO_VALUE = "(none)"
METADATA = "metadata:"
_LONG = 100  # characters of a value that is shown


class Subgroup(Frozen):
    """The scores of the `n` images with one value; what they do not define is empty.

    Where images of one group (patient) are among them, the intervals are those of a bootstrap of the `groups`.
    """

    value: str
    n: int
    groups: int | None = None
    accuracy: Score
    sensitivity: Score
    specificity: Score
    auc: Score


def columns(rows: Sequence[ImageRow]) -> dict[str, list[str]]:
    """What the images can be told apart by: each column's value of every image, at most `MAX_VALUES` different ones.

    The split, the number of images of the same group, and the metadata, whose names follow `metadata:`. Of a column
    with more different numbers the values are ranges. What tells nothing is left out; `left_out` says why.
    """
    found = {name: _in_ranges(values) for name, values in _all(rows).items()}
    return {name: values for name, values in found.items() if 2 <= len(set(values)) <= MAX_VALUES}


def left_out(rows: Sequence[ImageRow]) -> dict[str, str]:
    """Why columns of the metadata cannot tell the images apart, by the same names."""
    told = columns(rows)
    found = {name: values for name, values in _all(rows).items() if name.startswith(METADATA)}
    return {name: _reason(values) for name, values in found.items() if name not in told}


def _all(rows: Sequence[ImageRow]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"split": [row.split for row in rows], "group_size": _group_sizes(rows)}
    for key in sorted({key for row in rows for key in row.metadata}):
        found[METADATA + key] = [row.metadata.get(key, "").strip()[:_LONG] or NO_VALUE for row in rows]
    return found


def _in_ranges(values: list[str]) -> list[str]:
    """Numbers as ranges where there are many different ones, else the values as they are."""
    if len(set(values)) <= MAX_VALUES:
        return values
    return quartiles.ranges(["" if value == NO_VALUE else value for value in values], NO_VALUE) or values


def _reason(values: list[str]) -> str:
    different = set(values)
    texts = sorted(value for value in different if value != NO_VALUE and quartiles.number(value) is None)
    if len(different) < 2 or not texts:
        return f"All images agree in it: '{values[0]}'."
    return (
        f"It has {len(different)} different values, at most {MAX_VALUES} can be told apart, and not all are numbers: "
        f"'{texts[0]}'. Give it fewer values, or numbers alone, which are put into ranges."
    )


def scores(
    values: Sequence[str],
    truth_N: NDArray[np.int64],
    decided_N: NDArray[np.int64],
    probabilities_NK: NDArray[np.float64],
    positive: int | None,
    groups: Sequence[str | None] | None = None,
) -> list[Subgroup]:
    """The scores of each value, those of numbers in their order. `positive` is a column of the probabilities.

    `groups` names each image's group (patient), or None. Without it every image counts as independent, and intervals
    are too narrow where a patient has several.
    """
    value_N = np.array(values)
    group_N = np.array(groups if groups is not None else [None] * len(value_N), object)
    result = []
    for value in sorted(set(values), key=_in_order):
        of_value_N = value_N == value
        truth_M, decided_M, probabilities_MK = truth_N[of_value_N], decided_N[of_value_N], probabilities_NK[of_value_N]
        clusters = Clusters.of(truth_M, group_N[of_value_N].tolist())
        settled = Settled.of(clusters, truth_M, decided_M, probabilities_MK, positive)
        result.append(
            Subgroup(
                value=value,
                n=len(truth_M),
                groups=clusters.n if clusters.is_clustered else None,
                accuracy=settled.accuracy(),
                sensitivity=Score() if positive is None else settled.recall(positive),
                specificity=Score() if positive is None else settled.recall(1 - positive),
                auc=settled.auc(),
            )
        )
    return result


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
    """Numbers and ranges by their start, then words, NaN among them, then what has no value."""
    start = quartiles.number(value.split("–")[0])
    if start is not None and math.isfinite(start):
        return start, value
    return math.inf, "\uffff" if value == NO_VALUE else value

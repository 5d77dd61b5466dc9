"""Versions on the same images: the paired tests, and where they say different things."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml import comparison
from ml.comparison import Pair
from webapp.errors import Conflict
from webapp.models import Evaluation
from webapp.registry import answers
from webapp.registry.answers import Answered


@dataclass(frozen=True)
class Tested:
    """Two versions on the same images; `first` and `second` count the compared versions from 0."""

    first: int
    second: int
    pair: Pair


@dataclass(frozen=True)
class Said:
    """An image and what each version said of it: class and probability."""

    number: int
    truth: str
    answers: list[tuple[str, float]]


@dataclass(frozen=True)
class OnSameImages:
    """What `n` images tell of several versions; `learned` counts those that each version was trained on."""

    n: int
    learned: list[int]
    has_groups: bool
    tests: list[Tested]
    disagreements: list[Said]


def on_same_images(evaluations: Sequence[Evaluation], positive_class: str | None) -> OnSameImages:
    """The paired tests, and the images of which the versions say different things. Raises Conflict without answers."""
    said = [answers.of(evaluation) for evaluation in evaluations]
    first = said[0]
    if any(not np.array_equal(one.number_N, first.number_N) for one in said):
        raise Conflict("These evaluations hold different images. Evaluate each version again on this data set.")
    column = {label: index for index, label in enumerate(first.classes)}
    decided_VN = np.stack([_in_columns(one, column) for one in said])
    group_N = _groups(first)
    binary = positive_class or first.classes[-1] if len(first.classes) == 2 else None
    probability_VN = np.stack([one.probabilities_NK[:, one.classes.index(binary)] for one in said]) if binary else None
    tests = [
        Tested(
            a,
            b,
            comparison.compare(
                first.truth_N,
                decided_VN[[a, b]],
                None if probability_VN is None else probability_VN[[a, b]],
                column[binary] if binary else 0,
                group_N,
            ),
        )
        for a, b in itertools.combinations(range(len(said)), 2)
    ]
    return OnSameImages(
        n=len(first.rows),
        learned=[int(answers.is_learned(evaluation.version, first.rows).sum()) for evaluation in evaluations],
        has_groups=group_N is not None,
        tests=tests,
        disagreements=_disagreements(said, decided_VN, column),
    )


def _in_columns(one: Answered, column: dict[str, int]) -> NDArray[np.int64]:
    """The decisions as columns of the first version."""
    return np.array([column[label] for label in one.classes], np.int64)[one.decided_N]


def _groups(first: Answered) -> NDArray[np.int64] | None:
    """One number for the images of a group, one for each image of none; None where no image has a group."""
    if not any(row.group for row in first.rows):
        return None
    seen: dict[Any, int] = {}
    keys = [row.group or number for number, row in zip(first.number_N.tolist(), first.rows, strict=True)]
    return np.array([seen.setdefault(key, len(seen)) for key in keys], np.int64)


def _disagreements(said: Sequence[Answered], decided_VN: NDArray[np.int64], column: dict[str, int]) -> list[Said]:
    """First those on which the probabilities of the truth lie furthest apart."""
    labels, first = list(column), said[0]
    truth_VN = np.stack([one.truth_probability_N for one in said])
    spread_N = truth_VN.max(axis=0) - truth_VN.min(axis=0)
    differs_N = (decided_VN != decided_VN[0]).any(axis=0)
    return [
        Said(
            number=int(first.number_N[index]),
            truth=first.rows[index].label,
            answers=[
                (labels[decided_N[index]], float(one.confidence_N[index]))
                for one, decided_N in zip(said, decided_VN, strict=True)
            ],
        )
        for index in np.argsort(-spread_N, kind="stable")
        if differs_N[index]
    ]

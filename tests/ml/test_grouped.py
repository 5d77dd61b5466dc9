"""Scores of patients beside those of images."""

import numpy as np
import pytest

from ml import grouped, metrics
from ml.decisions import OperatingPoint
from ml.intervals import Score
from ml.metrics import Metrics

CLASSES = ("benign", "malignant")


def scored(truth: list[int], probability: list[float], groups: list[str | None], point: float = 0.5) -> Metrics:
    probability_N = np.array(probability)
    probabilities_NK = np.stack([1 - probability_N, probability_N], axis=1)
    at = OperatingPoint(threshold=point)
    return metrics.evaluate(np.array(truth), probabilities_NK, CLASSES, "malignant", at, groups)


def test_a_group_is_answered_with_the_mean_of_its_images() -> None:
    found = scored([1, 1, 0, 0, 0], [0.9, 0.3, 0.2, 0.7, 0.55], ["a", "a", "b", "b", "c"]).group_level
    # By hand: a 0.6 (right), b 0.45 (right), c 0.55 (wrong).
    assert found
    assert (found.n, found.accuracy.value) == (3, pytest.approx(2 / 3))
    assert (found.sensitivity.value, found.specificity.value, found.auc.value) == (1, 0.5, 1)


def test_the_operating_point_holds_for_groups_too() -> None:
    found = scored([1, 1, 0, 0], [0.9, 0.3, 0.2, 0.7], ["a", "a", "b", "b"], point=0.4).group_level
    assert found
    assert found.specificity.value == 0


def test_a_group_of_several_classes_has_no_class_itself() -> None:
    assert scored([1, 0, 0], [0.9, 0.3, 0.2], ["a", "a", "b"]).group_level is None
    assert scored([1, 0, 0], [0.9, 0.3, 0.2], ["a", "b", "c"]).group_level is None
    assert scored([1, 0, 0], [0.9, 0.3, 0.2], [None, None, None]).group_level is None


def test_the_worst_groups_are_listed_first() -> None:
    truth, probability = [1, 1, 0, 0, 0, 1], [0.9, 0.3, 0.2, 0.1, 0.8, 0.7]
    listed = scored(truth, probability, ["a", "a", "b", "b", "c", None]).per_group
    assert [(one.group, one.n, one.correct) for one in listed] == [("c", 1, 0), ("a", 2, 1), ("b", 2, 2)]
    assert [one.mean_probability for one in listed] == pytest.approx([0.2, 0.6, 0.85])


def test_no_more_than_the_worst_are_kept() -> None:
    n = grouped.LISTED + 50
    scores = scored([0, 1] * n, [0.2, 0.9] * n, [f"P{number}" for number in np.repeat(np.arange(n), 2)])
    assert len(scores.per_group) == grouped.LISTED


def test_groups_of_many_classes_are_scored_too() -> None:
    truth_N = np.repeat([0, 1, 2], 4)
    groups = [f"P{number}" for number in np.repeat(np.arange(6), 2)]
    found = metrics.evaluate(truth_N, np.eye(3)[truth_N] * 0.7 + 0.1, ("a", "b", "c"), groups=groups).group_level
    assert found
    assert (found.n, found.auc.value, found.accuracy.value, found.sensitivity) == (6, 1, 1, Score())

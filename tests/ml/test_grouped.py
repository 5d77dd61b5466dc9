"""Scores of patients beside those of images."""

import numpy as np
import pytest

from ml import grouped, metrics
from ml.decisions import OperatingPoint
from ml.intervals import Score
from ml.metrics import Metrics

CLASSES = ("benign", "malignant")


def scored(truth: list[int], probability: list[float], groups: list[str | None] | None, point: float = 0.5) -> Metrics:
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


def test_a_patient_with_one_positive_image_is_positive_and_answered_by_the_highest_probability() -> None:
    # By hand: a (mixed) 0.9, b 0.6, c 0.3; the truth of a is positive although two of its images are not.
    truth, probability = [1, 0, 0, 0, 0, 1, 1], [0.9, 0.1, 0.1, 0.6, 0.2, 0.3, 0.3]
    found = scored(truth, probability, ["a", "a", "a", "b", "b", "c", "c"])
    level = found.group_level
    assert level
    assert (level.answer, level.n, level.mixed, level.left_out) == ("highest probability", 3, 1, 0)
    assert (level.sensitivity.value, level.specificity.value) == (0.5, 0)
    assert (level.accuracy.value, level.auc.value) == (pytest.approx(1 / 3), 0.5)
    assert found.no_group_level is None


def test_the_highest_probability_is_that_of_the_positive_class_wherever_it_stands() -> None:
    truth_N, probability_N = np.array([0, 1, 1, 1]), np.array([0.8, 0.1, 0.3, 0.2])
    probabilities_NK = np.stack([probability_N, 1 - probability_N], axis=1)
    groups = ["a", "a", "b", "b"]
    level = metrics.evaluate(truth_N, probabilities_NK, CLASSES, "benign", groups=groups).group_level
    assert level
    assert (level.sensitivity.value, level.specificity.value, level.auc.value) == (1, 1, 1)


def test_without_a_mixed_group_the_mean_of_the_images_answers() -> None:
    level = scored([1, 1, 0, 0], [0.9, 0.3, 0.2, 0.7], ["a", "a", "b", "b"]).group_level
    assert level
    assert (level.answer, level.mixed, level.left_out, level.specificity.value) == ("mean probability", 0, 0, 1)


def test_without_a_positive_class_mixed_groups_are_left_out_and_counted() -> None:
    truth_N = np.array([0, 1, 0, 0, 1, 1, 2])
    groups = ["mixed", "mixed", "a", "a", "b", "b", "c"]
    found = metrics.evaluate(truth_N, np.eye(3)[truth_N] * 0.7 + 0.1, ("a", "b", "c"), groups=groups)
    assert found.group_level
    assert (found.group_level.n, found.group_level.mixed, found.group_level.left_out) == (3, 1, 1)
    assert (found.group_level.answer, found.group_level.accuracy.value) == ("mean probability", 1)


@pytest.mark.parametrize(
    ("groups", "reason"),
    [(None, "No image here names its group"), ([None] * 4, "No image here names its group"),
     (["a", "b", "c", None], "No group (patient) has several images here")],
)  # fmt: skip
def test_where_groups_have_no_scores_the_metrics_say_why(groups: list[str | None] | None, reason: str) -> None:
    found = scored([1, 0, 0, 1], [0.9, 0.3, 0.2, 0.4], groups)
    assert found.group_level is None
    assert str(found.no_group_level).startswith(reason)


def test_groups_that_are_all_mixed_have_no_scores_without_a_positive_class() -> None:
    found = metrics.evaluate(np.array([0, 1, 0, 1]), np.full((4, 2), 0.5), CLASSES, groups=["a", "a", "b", "b"])
    assert found.group_level is None
    assert str(found.no_group_level).startswith("Every one of the 2 groups has images of several classes")


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

"""Decisions and the operating point."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from ml.decisions import OperatingPoint, choose_threshold, decide

CLASSES = ("benign", "malignant")


def test_the_threshold_has_the_highest_youden_index() -> None:
    is_positive_N = np.array([True, True, False, True, False, False])
    probability_N = np.array([0.9, 0.8, 0.7, 0.6, 0.3, 0.2])
    # Sensitivity - (1 - specificity) by hand: 1/3, 2/3, 1/3, 2/3, 1/3, 0; of the two best the more sensitive one.
    point = choose_threshold(is_positive_N, probability_N)
    assert point is not None
    assert (point.threshold, point.target, point.chosen_on) == (pytest.approx(0.45), "youden", "validation")


def test_the_threshold_of_a_perfect_ranking_parts_the_classes() -> None:
    is_positive_N = np.array([False, True, False, True])
    point = choose_threshold(is_positive_N, np.array([0.02, 0.06, 0.04, 0.08], np.float32))
    assert point is not None
    assert point.threshold == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("target", "value", "threshold"),
    [
        ("sensitivity", 0.5, 0.75),  # 2 of 4 positives have at least 0.8; the next probability is 0.7
        ("sensitivity", 0.75, 0.45),
        ("sensitivity", 0.76, 0.05),  # all of them: midway between 0.1 and nothing
        ("specificity", 0.75, 0.45),  # 1 of 4 negatives has at least 0.6
        ("specificity", 0.76, 0.75),
        ("specificity", 0.5, 0.25),
    ],
)
def test_the_threshold_reaches_a_target(target: Any, value: float, threshold: float) -> None:
    is_positive_N = np.array([True, True, False, True, False, False, False, True])
    probability_N = np.array([0.9, 0.8, 0.7, 0.6, 0.3, 0.2, 0.15, 0.1])
    point = choose_threshold(is_positive_N, probability_N, target, value)
    assert point is not None
    assert (point.threshold, point.target) == (pytest.approx(threshold), f"{target} >= {value:.2f}")


def test_ninety_percent_of_ten_positives_are_nine() -> None:
    is_positive_N, probability_N = np.arange(11) < 10, np.append(np.linspace(0.9, 0.45, 10), 0.3)
    point = choose_threshold(is_positive_N, probability_N, "sensitivity", 0.9)
    assert point is not None
    assert point.threshold == pytest.approx(0.475)


@pytest.mark.parametrize("highest", [0.9, 1.0])
def test_a_specificity_that_only_silence_reaches_calls_nothing_positive(highest: float) -> None:
    probability_N = np.array([highest, 0.5, 0.4])
    point = choose_threshold(np.array([False, True, False]), probability_N, "specificity", 0.99)
    assert point is not None
    assert highest < point.threshold <= 1.0001


def test_targets_are_written_so_that_cards_tell_them() -> None:
    for target in ("youden", "sensitivity >= 0.90", "specificity >= 0.975"):
        assert OperatingPoint.model_validate_json(f'{{"threshold": 0.4, "target": "{target}"}}').target == target
    assert OperatingPoint.model_validate({"threshold": 0.4}).target == "youden"
    with pytest.raises(ValidationError):
        OperatingPoint(threshold=0.4, target="luck")


@pytest.mark.parametrize(
    ("is_positive", "probability"),
    [
        ([], []),
        ([True], [0.7]),
        ([True, True], [0.7, 0.3]),
        ([False, False], [0.7, 0.3]),
        ([True, False], [0.5, 0.5]),
        ([True, False], [0.2, 0.8]),
    ],
)
def test_images_that_cannot_tell_choose_nothing(is_positive: list[bool], probability: list[float]) -> None:
    assert choose_threshold(np.array(is_positive, bool), np.array(probability)) is None


def test_a_probability_at_the_threshold_is_positive() -> None:
    probabilities_NK = np.array([[0.7, 0.3], [0.71, 0.29], [0.4, 0.6]])
    assert decide(probabilities_NK, CLASSES, "malignant", OperatingPoint(threshold=0.3)).tolist() == [1, 0, 1]
    assert decide(probabilities_NK, CLASSES, "benign", OperatingPoint(threshold=0.705)).tolist() == [1, 0, 1]


def test_without_an_operating_point_the_threshold_is_a_half() -> None:
    assert decide(np.array([[0.5, 0.5], [0.51, 0.49]]), CLASSES, "malignant", None).tolist() == [1, 0]


def test_without_a_positive_class_the_most_probable_one_is_taken() -> None:
    probabilities_NK = np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3]])
    assert decide(probabilities_NK, ("a", "b", "c"), None, None).tolist() == [1, 0]
    assert decide(np.zeros((0, 3)), ("a", "b", "c"), None, None).tolist() == []

"""Calibration slope and intercept, against scikit-learn's logistic regression."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ml.recalibration import Coefficient, logit, slope_and_intercept


def drawn(n: int, slope: float, intercept: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes whose logit is slope * logit(p) + intercept."""
    random = np.random.default_rng(seed)
    logit_N = random.normal(0, 1.5, n)
    happened_N = random.random(n) < 1 / (1 + np.exp(-(slope * logit_N + intercept)))
    return happened_N, 1 / (1 + np.exp(-logit_N))


def test_the_slope_agrees_with_scikit_learn() -> None:
    happened_N, probability_N = drawn(500, 0.6, -0.4)
    slope, _ = slope_and_intercept(happened_N, probability_N)
    reference = LogisticRegression(C=1e10, tol=1e-10, max_iter=1000).fit(logit(probability_N)[:, None], happened_N)
    assert slope.value == pytest.approx(reference.coef_[0, 0], abs=1e-4)


def test_the_intercept_makes_the_mean_probability_that_of_the_outcome() -> None:
    happened_N, probability_N = drawn(500, 1.0, -0.7)
    _, intercept = slope_and_intercept(happened_N, probability_N)
    assert intercept.value is not None
    moved_N = 1 / (1 + np.exp(-(logit(probability_N) + intercept.value)))
    assert moved_N.mean() == pytest.approx(happened_N.mean(), abs=1e-9)
    assert intercept.low < -0.7 < intercept.high  # type: ignore[operator]


def test_the_variance_of_the_intercept_of_a_constant_model_by_hand() -> None:
    # All probabilities 0.5, 30 of 100 happened: the coefficient is logit(0.3), its variance n / (n - 1) / (n p q).
    happened_N = np.arange(100) < 30
    slope, intercept = slope_and_intercept(happened_N, np.full(100, 0.5))
    half = 1.959964 * (100 / 99 / (100 * 0.3 * 0.7)) ** 0.5
    assert slope == Coefficient()
    assert (intercept.value, intercept.low) == pytest.approx((np.log(3 / 7), np.log(3 / 7) - half), abs=1e-5)


def test_copies_of_an_image_in_one_group_teach_nothing_new() -> None:
    happened_N, probability_N = drawn(200, 1.0, 0.2)
    once = slope_and_intercept(happened_N, probability_N)
    group_N = np.repeat(np.arange(200), 4)
    copied = slope_and_intercept(np.repeat(happened_N, 4), np.repeat(probability_N, 4), group_N)
    for first, second in zip(once, copied, strict=True):
        assert tuple(first.model_dump().values()) == pytest.approx(tuple(second.model_dump().values()), abs=1e-6)


def test_95_percent_of_the_intervals_hold_the_truth() -> None:
    found = [slope_and_intercept(*drawn(300, 0.8, 0.0, seed))[0] for seed in range(400)]
    assert 0.92 < np.mean([one.low <= 0.8 <= one.high for one in found]) < 0.98  # type: ignore[operator]


@pytest.mark.parametrize("rows", [([True, False], [0.9, 0.2]), ([False, True], [0.9, 0.2])])
def test_outcomes_that_a_threshold_parts_have_no_slope(rows: tuple[list[bool], list[float]]) -> None:
    slope, intercept = slope_and_intercept(np.array(rows[0]), np.array(rows[1]))
    assert slope == Coefficient()
    assert intercept.value is not None


@pytest.mark.parametrize("happened", [[], [True], [False, False]])
def test_one_outcome_alone_defines_nothing(happened: list[bool]) -> None:
    happened_N = np.array(happened, bool)
    assert slope_and_intercept(happened_N, np.full(len(happened), 0.4)) == (Coefficient(), Coefficient())


def test_certain_answers_are_finite_on_the_scale_of_logits() -> None:
    happened_N = np.array([True, False, True, False, True, False])
    slope, _ = slope_and_intercept(happened_N, np.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.0]))
    assert slope.value is not None
    assert np.isfinite(slope.value)

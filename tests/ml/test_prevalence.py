"""Predictive values at another prevalence."""

import math

import pytest

from ml import intervals
from ml.errors import BadConfig
from ml.intervals import Score
from ml.prevalence import predictive_values


def test_predictive_values_follow_from_bayes_theorem() -> None:
    found = predictive_values(intervals.proportion(90, 100), intervals.proportion(80, 100), 0.01)
    # By hand, of 10,000: 100 positive, 90 found; 9,900 negative, 1,980 alarms, 7,920 rejected, 10 missed.
    assert found.ppv.value == pytest.approx(90 / (90 + 1980))
    assert found.npv.value == pytest.approx(7920 / 7930)
    assert found.prevalence == 0.01


def test_at_the_prevalence_of_the_images_they_are_those_of_the_table() -> None:
    found = predictive_values(intervals.proportion(45, 50), intervals.proportion(120, 150), 50 / 200)
    assert (found.ppv.value, found.npv.value) == pytest.approx((45 / 75, 120 / 125))


def test_the_interval_agrees_with_the_logit_method_of_mercaldo() -> None:
    n1, n0, sensitivity, specificity, prevalence = 4000, 5000, 0.85, 0.9, 0.05
    found = predictive_values(
        intervals.proportion(sensitivity * n1, n1), intervals.proportion(specificity * n0, n0), prevalence
    )
    for score, variance in (
        (found.ppv, (1 - sensitivity) / (sensitivity * n1) + specificity / ((1 - specificity) * n0)),
        (found.npv, sensitivity / ((1 - sensitivity) * n1) + (1 - specificity) / (specificity * n0)),
    ):
        assert score.value
        logit = math.log(score.value / (1 - score.value))
        expected = [1 / (1 + math.exp(-(logit + side * 1.96 * math.sqrt(variance)))) for side in (-1, 1)]
        assert (score.low, score.high) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("found", "rejected"), [(20, 30), (0, 30), (20, 0), (17, 30), (20, 25)])
def test_rates_of_zero_and_one_keep_cautious_bounds(found: int, rejected: int) -> None:
    values = predictive_values(intervals.proportion(found, 20), intervals.proportion(rejected, 30), 0.1)
    for score in (values.ppv, values.npv):
        if score.value is None:
            assert score == Score()
        else:
            assert 0 <= score.low <= score.value <= score.high <= 1  # type: ignore[operator]
            assert score.high - score.low > 0.005  # type: ignore[operator]


def test_undefined_rates_give_undefined_values() -> None:
    values = predictive_values(Score(), intervals.proportion(9, 10), 0.1)
    assert (values.ppv, values.npv) == (Score(), Score())


@pytest.mark.parametrize("prevalence", [0, 1, -0.1, 5, math.nan])
def test_a_prevalence_outside_zero_to_one_is_refused(prevalence: float) -> None:
    with pytest.raises(BadConfig, match="must lie between 0 and 1, such as"):
        predictive_values(intervals.proportion(9, 10), intervals.proportion(9, 10), prevalence)

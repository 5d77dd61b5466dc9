"""Intervals: golden figures, edges, and whether 95 % of them hold the truth."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binomtest

from ml import intervals
from ml.intervals import Score

EMPTY = Score(value=None, low=None, high=None)


def coverage(interval: Callable[[], Score], truth: float, draws: int = 1500) -> float:
    """The share of intervals that hold the truth."""
    scores = [interval() for _ in range(draws)]
    return sum(score.low <= truth <= score.high for score in scores) / draws  # type: ignore[operator]


def test_a_proportion_has_wilsons_interval() -> None:
    # By hand: 8 of 10, z = 1.96: (0.8 + 0.19207) / 1.38415 -+ 1.96 / 1.38415 * sqrt(0.016 + 0.0096035)
    score = intervals.proportion(8, 10)
    assert (score.value, score.low, score.high) == pytest.approx((0.8, 0.490162, 0.943318), abs=1e-5)


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 40), (40, 40), (3, 17), (9999, 10_000)])
def test_a_proportion_agrees_with_scipy(successes: int, n: int) -> None:
    expected = binomtest(successes, n).proportion_ci(method="wilson")
    score = intervals.proportion(successes, n)
    assert (score.low, score.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_share_of_nothing_is_undefined() -> None:
    assert intervals.proportion(0, 0) == EMPTY
    assert intervals.f1(0, 0, 0) == EMPTY
    assert intervals.mean_of_independent([EMPTY]) == EMPTY
    assert intervals.mean_of_dependent([]) == EMPTY


def test_f1_counts_hits_twice() -> None:
    score = intervals.f1(true_positives=6, false_positives=2, false_negatives=2)
    jaccard = intervals.proportion(6, 10)
    assert score.value == pytest.approx(12 / 16)
    assert score.low == pytest.approx(2 * jaccard.low / (1 + jaccard.low))  # type: ignore[operator]


def test_a_mean_adds_independent_distances_in_quadrature() -> None:
    first, second = Score(value=0.8, low=0.5, high=0.9), Score(value=0.6, low=0.2, high=0.9)
    mean = intervals.mean_of_independent([first, EMPTY, second])
    assert (mean.value, mean.low) == pytest.approx((0.7, 0.7 - 0.5 / 2))
    assert mean.high == pytest.approx(0.7 + math.hypot(0.1, 0.3) / 2)
    cautious = intervals.mean_of_dependent([first, EMPTY, second])
    assert (cautious.value, cautious.low, cautious.high) == pytest.approx((0.7, 0.35, 0.9))


def test_an_interval_on_the_logit_scale_stays_inside() -> None:
    score = intervals.on_logit_scale(0.9, 0.09**2)
    # By hand: logit 2.19722, half 1.96 * 0.09 / 0.09.
    assert (score.low, score.high) == pytest.approx(
        (1 / (1 + math.exp(-0.237261)), 1 / (1 + math.exp(-4.157188))), abs=1e-5
    )
    assert intervals.on_logit_scale(1 - 1e-9, 0.25).low == 0.0


def test_newcombes_bounds_lie_z_standard_errors_away() -> None:
    score = intervals.newcombe_area(0.8, positives=10, negatives=14)
    for bound in (score.low, score.high):
        variance = intervals._hanley_mcneil_variance(bound, 10, 14)  # type: ignore[arg-type]
        assert abs(bound - 0.8) == pytest.approx(intervals.Z * math.sqrt(variance))  # type: ignore[operator]


def test_the_variance_of_an_area_by_hand() -> None:
    # 0.8 * 0.2 * (1 + 11 * 0.2 / 1.2 + 11 * 0.8 / 1.8) / (10 * 14), with 11 = (10 + 14) / 2 - 1
    assert intervals._hanley_mcneil_variance(0.8, 10, 14) == pytest.approx(0.00882540, abs=1e-8)


def test_a_perfect_area_is_not_certain() -> None:
    perfect, worst = intervals.newcombe_area(1, 3, 3), intervals.newcombe_area(0, 3, 3)
    assert perfect.high == 1
    assert 0.3 < perfect.low < 0.6  # type: ignore[operator]
    assert worst.high == pytest.approx(1 - perfect.low)  # type: ignore[operator]
    assert intervals.newcombe_area(1, 500, 500).low > 0.98  # type: ignore[operator]


def test_95_percent_of_f1_intervals_hold_the_truth() -> None:
    random = np.random.default_rng(0)
    shares = np.array([0.24, 0.07, 0.06, 0.63])
    truth = 2 * 0.24 / (2 * 0.24 + 0.07 + 0.06)

    def once() -> Score:
        hits, false_alarms, misses, _ = random.multinomial(80, shares).tolist()
        return intervals.f1(hits, false_alarms, misses)

    assert 0.93 < coverage(once, truth) < 0.975


def test_95_percent_of_balanced_accuracy_intervals_hold_the_truth() -> None:
    random = np.random.default_rng(0)

    def once() -> Score:
        found, rejected = random.binomial(40, 0.9), random.binomial(60, 0.7)
        return intervals.mean_of_independent([intervals.proportion(found, 40), intervals.proportion(rejected, 60)])

    assert 0.93 < coverage(once, 0.8) < 0.975

"""Paired tests: textbook figures, brute force, and how often chance alone is called a difference."""

import math

import numpy as np
import pytest
from scipy import stats

from ml import comparison, ranking
from ml.comparison import Difference


def rights(both: int, first: int, second: int, neither: int) -> np.ndarray:
    """Which images each of two versions has right, from the four counts: 2 x N."""
    counts = [both, first, second, neither]
    return np.stack([np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)])


@pytest.mark.parametrize(
    ("first", "second", "p_value"),
    # By hand: 0 of 5 is 2 / 2**5; 1 of 6 is 2 (1 + 6) / 2**6; 2 of 10 is 2 (1 + 10 + 45) / 2**10.
    [(0, 5, 0.0625), (5, 0, 0.0625), (1, 5, 0.21875), (2, 8, 0.109375), (3, 3, 1.0), (0, 0, 1.0)],
)
def test_mcnemar_is_the_binomial_test_of_the_images_that_one_alone_has_right(
    first: int, second: int, p_value: float
) -> None:
    result = comparison.mcnemar(*rights(11, first, second, 7))
    assert (result.only_first, result.only_second) == (first, second)
    assert result.p_value == pytest.approx(p_value)


@pytest.mark.parametrize(("first", "second"), [(86, 150), (59, 121), (6, 16), (4000, 4200), (0, 40)])
def test_mcnemar_agrees_with_scipy(first: int, second: int) -> None:
    """86 and 150 are the discordant pairs of Agresti's table of approval ratings (Categorical Data Analysis, 10.1)."""
    expected = stats.binomtest(first, first + second).pvalue
    assert comparison.mcnemar(*rights(3, first, second, 9)).p_value == pytest.approx(expected, rel=1e-8)


def correlated(random: np.random.Generator, positives: int, negatives: int, gain: float, decimals: int) -> tuple:
    """Truth, and two rankings of the same images that share half of their noise."""
    truth_N = np.repeat([True, False], [positives, negatives])
    shared_N, own_2N = random.normal(size=len(truth_N)), random.normal(size=(2, len(truth_N)))
    score_2N = truth_N * np.array([[1.0], [1.0 + gain]]) + (shared_N + own_2N) / math.sqrt(2)
    return truth_N, (1 / (1 + np.exp(-score_2N))).round(decimals)


@pytest.mark.parametrize("decimals", [1, 8])  # few decimals, many ties
def test_the_covariance_is_delongs_by_its_definition(decimals: int) -> None:
    truth_N, probability_2N = correlated(np.random.default_rng(0), 17, 23, 0.3, decimals)
    area_2, covariance_22 = ranking.auc_covariance(truth_N, probability_2N, np.arange(40))
    kernel_2MN = np.array(
        [
            [[(p > q) + 0.5 * (p == q) for q in probability_N[~truth_N]] for p in probability_N[truth_N]]
            for probability_N in probability_2N
        ]
    )
    assert area_2 == pytest.approx(kernel_2MN.mean(axis=(1, 2)))
    for a in range(2):
        for b in range(2):
            of_positives = [kernel_2MN[v].mean(axis=1) - area_2[v] for v in (a, b)]
            of_negatives = [kernel_2MN[v].mean(axis=0) - area_2[v] for v in (a, b)]
            s10 = (of_positives[0] * of_positives[1]).sum() / 16
            s01 = (of_negatives[0] * of_negatives[1]).sum() / 22
            assert covariance_22[a, b] == pytest.approx(s10 / 17 + s01 / 23)


def test_the_interval_of_the_area_difference_agrees_with_a_bootstrap() -> None:
    random = np.random.default_rng(1)
    truth_N, probability_2N = correlated(random, 80, 120, 0.5, 8)
    result = comparison.auc_difference(truth_N, probability_2N, np.arange(200))
    drawn = []
    for _ in range(800):
        image_N = np.concatenate([random.choice(np.flatnonzero(truth_N == k), (truth_N == k).sum()) for k in (0, 1)])
        first, second = ranking.auc_covariance(truth_N[image_N], probability_2N[:, image_N], np.arange(200))[0]
        drawn.append(second - first)
    assert (result.low, result.high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.012)


def test_equal_versions_are_called_different_in_one_draw_of_twenty() -> None:
    random = np.random.default_rng(2)
    found = [comparison.auc_difference(*correlated(random, 40, 60, 0.0, 8), np.arange(100)).p_value for _ in range(600)]
    assert 0.03 < np.mean([p_value < 0.05 for p_value in found]) < 0.075  # type: ignore[operator]


def test_the_interval_of_the_accuracy_difference_is_that_of_an_ordinary_bootstrap() -> None:
    first_N, second_N = rights(120, 12, 30, 38)
    result = comparison.accuracy_difference(first_N, second_N, np.arange(200))
    gain_N, random = second_N.astype(int) - first_N, np.random.default_rng(3)
    drawn = [random.choice(gain_N, 200).mean() for _ in range(4000)]
    assert result.value == pytest.approx(0.09)
    assert (result.low, result.high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.006)


def test_images_of_one_patient_are_drawn_together() -> None:
    """Ten copies of each image tell no more than one of it."""
    first_N, second_N = rights(12, 2, 6, 4)
    single = comparison.accuracy_difference(first_N, second_N, np.arange(24))
    group_N = np.repeat(np.arange(24), 10)
    tenfold = comparison.accuracy_difference(first_N.repeat(10), second_N.repeat(10), group_N)
    assert tenfold == single
    as_if_independent = comparison.accuracy_difference(first_N.repeat(10), second_N.repeat(10), np.arange(240))
    assert as_if_independent.high - as_if_independent.low < (single.high - single.low) / 2  # type: ignore[operator]


def test_a_version_compared_with_itself_does_not_differ() -> None:
    truth_N, probability_2N = correlated(np.random.default_rng(4), 20, 20, 0.3, 8)
    twice_2N = probability_2N[[0, 0]]
    pair = comparison.compare(truth_N.astype(int), (twice_2N > 0.5).astype(int), twice_2N, 1)
    nothing = {"value": 0.0, "low": 0.0, "high": 0.0}
    assert pair.mcnemar.p_value == 1.0
    assert pair.accuracy == Difference(**nothing)
    assert pair.auc == Difference(**nothing, p_value=1.0)
    assert pair.units == pair.n == 40


def test_what_too_few_images_leave_undefined_is_empty() -> None:
    probability_2N = np.array([[0.9, 0.1, 0.2], [0.8, 0.3, 0.1]])
    assert comparison.auc_difference(np.array([True, False, False]), probability_2N, np.arange(3)) == Difference()
    empty_2N = np.zeros((2, 0))
    pair = comparison.compare(np.zeros(0, int), empty_2N.astype(int), empty_2N, 1)
    assert (pair.n, pair.mcnemar.p_value, pair.accuracy, pair.auc) == (0, 1.0, Difference(), Difference())


def test_a_perfect_ranking_against_its_reverse_has_no_interval() -> None:
    truth_N = np.repeat([True, False], 5)
    result = comparison.auc_difference(truth_N, np.stack([~truth_N, truth_N]).astype(float), np.arange(10))
    assert result == Difference(value=1.0)


def test_copies_of_an_image_in_its_group_tell_nothing_new_of_a_ranking() -> None:
    truth_N, probability_2N = correlated(np.random.default_rng(5), 20, 30, 0.3, 8)
    single = comparison.auc_difference(truth_N, probability_2N, np.arange(50))
    tenfold = comparison.auc_difference(truth_N.repeat(10), probability_2N.repeat(10, axis=1), np.arange(50).repeat(10))
    assert tenfold.model_dump() == pytest.approx(single.model_dump())


def test_images_of_patients_are_called_different_in_one_draw_of_twenty() -> None:
    """Four images of each of 60 patients, positive and negative ones; the two versions err alike within a patient."""
    random, found, as_if_independent = np.random.default_rng(6), [], []
    patient_N = np.arange(60).repeat(4)
    for _ in range(500):
        truth_N = random.random(240) < np.where(patient_N < 30, 0.2, 0.8)
        own_2N = random.normal(size=(2, 60))[:, patient_N] + 0.5 * random.normal(size=(2, 240))
        found.append(comparison.auc_difference(truth_N, truth_N + own_2N, patient_N).p_value)
        as_if_independent.append(comparison.auc_difference(truth_N, truth_N + own_2N, np.arange(240)).p_value)
    assert 0.03 < np.mean([p_value < 0.05 for p_value in found]) < 0.085
    assert np.mean([p_value < 0.05 for p_value in as_if_independent]) > 0.1

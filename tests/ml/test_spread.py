"""The spread of scores over several trainings, against scipy and by hand."""

import pytest
from scipy import stats

from ml.spread import T, spread


def test_the_table_holds_the_quantiles_of_student() -> None:
    assert pytest.approx([stats.t.ppf(0.975, n) for n in range(1, 20)], abs=1e-4) == T


def test_mean_deviation_and_interval_are_those_of_student() -> None:
    found = spread([0.7, 0.8, 0.9])
    assert (found.n, found.deviation) == (3, pytest.approx(0.1))
    low, high = stats.t.interval(0.95, 2, loc=0.8, scale=0.1 / 3**0.5)
    assert found.interval.value == pytest.approx(0.8)
    assert found.interval.low == pytest.approx(low, abs=1e-4)
    assert (high > 1, found.interval.high) == (True, 1.0)
    assert found.corrected is None


def test_folds_are_corrected_by_the_images_that_judge_for_each_that_trains() -> None:
    found = spread([0.50, 0.52, 0.54], test_per_train=1.0)
    half = 4.3027 * 0.02 * (1 / 3 + 1) ** 0.5
    assert found.corrected is not None
    assert found.corrected.low == pytest.approx(0.52 - half)
    assert found.corrected.high == pytest.approx(0.52 + half)
    assert found.interval.low > found.corrected.low


def test_one_score_has_no_spread_and_none_has_no_mean() -> None:
    assert (spread([0.7]).interval.value, spread([0.7]).interval.low, spread([0.7]).deviation) == (0.7, None, None)
    assert spread([]).interval.value is None


def test_scores_that_agree_have_an_interval_of_no_width() -> None:
    found = spread([0.75, 0.75]).interval
    assert (found.low, found.value, found.high) == (0.75, 0.75, 0.75)

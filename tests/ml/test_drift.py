"""Drift: figures by hand and by scipy, and how often chance alone is taken for drift."""

import numpy as np
import pytest
from scipy import special, stats

from ml import drift
from ml.decisions import OperatingPoint
from ml.drift import Sample

CLASSES = ("benign", "malignant")
DICE = np.random.default_rng(7)


def sample_of(scores: np.ndarray) -> Sample:
    """Images with these scores of the last class."""
    probabilities_NK = np.column_stack([1 - scores, scores])
    return drift.reference(probabilities_NK, CLASSES, "malignant", None).sample()


def test_a_psi_is_the_sum_over_bins() -> None:
    # By hand, with half an image added: shares 100.5/201, 100.5/201 before, 50.5/201, 150.5/201 after
    found = drift.shift(np.array([100.0, 100.0]), np.array([50.0, 150.0]))
    assert found.psi == pytest.approx(50 / 201 * np.log(150.5 / 50.5), rel=1e-12)
    assert found.chance == pytest.approx(stats.chi2.ppf(0.95, 1) / 100, rel=0.03)
    assert (found.level, found.bins) == ("large", 2)


@pytest.mark.parametrize("degrees", [2, 5, 9, 30])
def test_chi_square_agrees_with_scipy(degrees: int) -> None:
    assert drift._chi_square_95(degrees) == pytest.approx(stats.chi2.ppf(0.95, degrees), rel=0.01)


@pytest.mark.parametrize("x", [0.1, 0.2, 0.5, 0.8, 1.36, 2.5, 6.0])
def test_kolmogorovs_distribution_agrees_with_scipy(x: float) -> None:
    assert drift.kolmogorov_tail(x) == pytest.approx(special.kolmogorov(x), abs=1e-10)


@pytest.mark.parametrize(("n", "m", "power"), [(78, 60, 1.0), (500, 300, 1.3), (400, 500, 0.9)])
def test_the_two_sample_test_agrees_with_scipy(n: int, m: int, power: float) -> None:
    before, after = DICE.random(n).round(4), (DICE.random(m) ** power).round(4)
    found, expected = drift.kolmogorov_smirnov(sample_of(before), sample_of(after)), stats.ks_2samp(before, after)
    assert found.distance == pytest.approx(expected.statistic, abs=1e-9)
    assert found.p_value == pytest.approx(expected.pvalue, rel=0.1, abs=0.01)


def test_many_scores_are_kept_as_quantiles_that_move_nothing() -> None:
    scores = DICE.beta(0.4, 0.3, 20_000).round(4)
    probabilities_NK = np.column_stack([1 - scores, scores])
    kept = drift.reference(probabilities_NK, CLASSES, "malignant", OperatingPoint(threshold=0.2))
    assert len(kept.scores) == drift.KEPT
    assert kept.answered == {"benign": int((scores < 0.2).sum()), "malignant": int((scores >= 0.2).sum())}
    whole = Sample(np.sort(scores), np.ones(len(scores)), kept.answered)
    assert drift.kolmogorov_smirnov(kept.sample(), whole).distance < 0.002


def test_without_a_positive_class_the_score_is_that_of_the_answer() -> None:
    probabilities_NK = np.array([[0.2, 0.5, 0.3], [0.7, 0.2, 0.1]])
    kept = drift.reference(probabilities_NK, ("a", "b", "c"), None, None)
    assert (kept.scores, kept.answered) == ((0.5, 0.7), {"a": 1, "b": 1, "c": 0})


def test_nothing_is_claimed_of_few_images() -> None:
    found = drift.compare(sample_of(DICE.random(78)), sample_of(np.ones(drift.LEAST - 1)))
    assert (found.n, found.scores.level, found.answers.psi, found.test) == (drift.LEAST - 1, "too few", None, None)


def test_chance_alone_is_seldom_taken_for_drift_and_drift_is_found() -> None:
    """With 78 and 60 images the rule of thumb by itself would call most of these samples drifted."""
    before, draws = sample_of(DICE.beta(0.5, 0.5, 78)), 400
    same = [drift.compare(before, sample_of(DICE.beta(0.5, 0.5, 60))).scores for _ in range(draws)]
    assert sum(one.psi > drift.MODERATE for one in same) > 0.5 * draws  # type: ignore[operator]
    assert sum(one.level != "none" for one in same) < 0.1 * draws
    moved = drift.compare(before, sample_of(DICE.beta(2, 0.4, 200)))
    assert (moved.scores.level, moved.answers.level) == ("large", "large")
    assert moved.test is not None
    assert moved.test.p_value < 1e-4


def test_equal_scores_share_a_bin() -> None:
    certain = sample_of(np.repeat([0.0, 1.0], 100))
    found = drift.compare(certain, certain)
    assert (found.scores.psi, found.scores.bins, found.scores.level) == (0, 2, "none")
    assert drift.histogram(certain)[::19] == [0.5, 0.5]

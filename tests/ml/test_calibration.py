"""Calibration by hand and by scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from ml import calibration


def test_probabilities_are_held_against_frequencies() -> None:
    is_positive_N = np.array([True, False, True, True])
    found = calibration.of_positive_class(is_positive_N, np.array([0.82, 0.88, 0.12, 1.0]))
    assert found.brier == pytest.approx((0.18**2 + 0.88**2 + 0.88**2 + 0) / 4)
    # Bins by hand: 0.8 to 0.9 holds two, 0.85 said, 0.5 seen; 0.1 to 0.2 one, 0.12 said, 1 seen; the last one, 1 and 1.
    assert found.ece == pytest.approx((2 * 0.35 + 1 * 0.88 + 0) / 4)
    eighth = found.bins[8]
    assert (eighth.low, eighth.high, eighth.n, eighth.mean_probability, eighth.frequency) == (0.8, 0.9, 2, 0.85, 0.5)
    assert [one.n for one in found.bins] == [0, 1, 0, 0, 0, 0, 0, 0, 2, 1]
    assert found.bins[0].frequency is None


def test_the_brier_score_of_two_classes_agrees_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    is_positive_N, probability_N = random.random(100) < 0.3, random.random(100)
    found = calibration.of_positive_class(is_positive_N, probability_N)
    assert found.brier == pytest.approx(brier_score_loss(is_positive_N, probability_N))


def test_of_many_classes_the_decided_one_counts() -> None:
    truth_N = np.array([0, 2])
    probabilities_NK = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]])
    found = calibration.of_decided_class(truth_N, probabilities_NK, np.array([0, 1]))
    assert found.of == "decided class"
    assert found.brier == pytest.approx((0.09 + 0.04 + 0.01 + 0.09 + 0.36 + 0.81) / 2)
    assert found.ece == pytest.approx((abs(1 - 0.7) + abs(0 - 0.6)) / 2)


def test_believable_probabilities_have_almost_no_error() -> None:
    random = np.random.default_rng(1)
    probability_N = random.random(20_000)
    found = calibration.of_positive_class(random.random(20_000) < probability_N, probability_N)
    assert found.ece is not None
    assert found.ece < 0.02


def test_without_images_there_is_nothing_to_hold_against() -> None:
    found = calibration.of_positive_class(np.zeros(0, bool), np.zeros(0))
    assert (found.brier, found.ece, found.bins) == (None, None, ())


def test_a_probability_rounded_past_one_is_in_the_last_bin() -> None:
    assert calibration.of_positive_class(np.array([True]), np.array([1.0000001])).bins[9].n == 1

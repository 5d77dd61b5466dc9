"""Risk and coverage by hand."""

import numpy as np
import pytest

from ml import metrics, selective
from ml.decisions import OperatingPoint

CLASSES = ("benign", "malignant")


def test_the_risk_is_that_of_the_surest_images() -> None:
    # Surest first: right, wrong, right, wrong.
    risk_N = selective.risks(np.array([False, True, True, False]), np.array([0.9, 0.5, 0.8, 0.7]))
    assert risk_N == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])


def test_equally_sure_images_share_their_risk() -> None:
    risk_N = selective.risks(np.array([True, False, False]), np.array([0.6, 0.6, 0.9]))
    assert risk_N == pytest.approx([0, 0.25, 1 / 3])
    assert selective.risks(np.array([True, False]), np.array([0.6, 0.6])) == pytest.approx([0.5, 0.5])


def test_sureness_is_the_distance_from_the_operating_point() -> None:
    probabilities_NK = np.array([[0.8, 0.2], [0.95, 0.05], [0.5, 0.5]])
    sure_N = selective.sureness(probabilities_NK, 1, OperatingPoint(threshold=0.2))
    assert sure_N.argsort().tolist() == [0, 2, 1]
    assert sure_N[0] == pytest.approx(0, abs=1e-12)
    assert selective.sureness(probabilities_NK, None, None).tolist() == [0.8, 0.95, 0.5]
    assert np.isfinite(selective.sureness(np.array([[1.0, 0.0]]), 1, None)).all()


def test_the_curve_ends_at_the_error_rate_and_its_area_has_an_interval() -> None:
    random = np.random.default_rng(0)
    truth_N = random.integers(0, 2, 400)
    probability_N = 1 / (1 + np.exp(-random.normal(2 * truth_N - 1, 1.5)))
    scores = metrics.evaluate(truth_N, np.stack([1 - probability_N, probability_N], axis=1), CLASSES, "malignant")
    curve = scores.risk_coverage
    assert curve
    assert (curve.coverage[-1], curve.risk[-1]) == (1, pytest.approx(1 - scores.accuracy.value))  # type: ignore[operator]
    assert len(curve.coverage) == selective.MAX_POINTS
    aurc = curve.aurc
    assert 0 < aurc.low < aurc.value < aurc.high < curve.risk[-1]  # type: ignore[operator]


def test_a_weighted_area_with_weights_of_one_is_the_mean_risk() -> None:
    random = np.random.default_rng(1)
    is_error_N, sure_N = random.random(50) < 0.3, random.random(50)
    (area,) = selective.area_under_risk(is_error_N, sure_N, np.ones((1, 50)))
    assert area == pytest.approx(selective.risks(is_error_N, sure_N).mean())


def test_without_images_there_is_no_curve() -> None:
    assert selective.risk_coverage(selective.risks(np.zeros(0, bool), np.zeros(0)), metrics.Score()) is None

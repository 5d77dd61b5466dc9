"""The temperature, against scipy's minimum and by what it does."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from ml import temperature


def too_sure(n: int, by: float, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Images whose logits are `by` times those that generated them."""
    random = np.random.default_rng(0)
    logits_NK = random.normal(0, 1.5, (n, classes))
    exact_NK = np.exp(logits_NK) / np.exp(logits_NK).sum(axis=1, keepdims=True)
    truth_N = (exact_NK.cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    raised_NK = np.exp(by * logits_NK)
    return truth_N, raised_NK / raised_NK.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_temperature_has_the_lowest_loss(classes: int) -> None:
    truth_N, probabilities_NK = too_sure(800, 2.5, classes)

    def loss(candidate: float) -> float:
        return float(log_loss(truth_N, temperature.scaled(probabilities_NK, candidate)))

    expected = minimize_scalar(loss, bounds=(0.1, 10), method="bounded", options={"xatol": 1e-7})
    assert temperature.fit(truth_N, probabilities_NK) == pytest.approx(expected.x, abs=1e-4)


def test_a_model_that_is_too_sure_gets_its_temperature_back() -> None:
    truth_N, probabilities_NK = too_sure(20_000, 2.5)
    assert temperature.fit(truth_N, probabilities_NK) == pytest.approx(2.5, rel=0.05)
    found = temperature.compare(truth_N, probabilities_NK, None, 2.5)
    assert found.before.ece is not None
    assert found.after.ece is not None
    assert found.after.ece < 0.02 < found.before.ece
    assert found.before.log_loss == pytest.approx(log_loss(truth_N, probabilities_NK))
    assert found.after.log_loss < found.before.log_loss  # type: ignore[operator]


def test_a_temperature_of_one_changes_nothing_and_none_changes_a_ranking() -> None:
    _, probabilities_NK = too_sure(50, 1.0)
    assert temperature.scaled(probabilities_NK, 1) == pytest.approx(probabilities_NK)
    cooler_NK = temperature.scaled(probabilities_NK, 3)
    assert (cooler_NK.argsort(axis=1) == probabilities_NK.argsort(axis=1)).all()
    assert cooler_NK.sum(axis=1) == pytest.approx(np.ones(50))


def test_certain_answers_stay_finite() -> None:
    scaled_NK = temperature.scaled(np.array([[1.0, 0.0]], np.float32), 2)
    assert np.isfinite(scaled_NK).all()


def test_images_that_cannot_tell_fix_no_temperature() -> None:
    all_right_NK = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert temperature.fit(np.array([0, 1]), all_right_NK) is None
    assert temperature.fit(np.array([1, 0]), all_right_NK) is None
    assert temperature.fit(np.zeros(0, int), np.zeros((0, 2))) is None
    assert temperature.fit(np.array([0, 1]), np.full((2, 2), 0.5)) is None
    nothing = temperature.compare(np.zeros(0, int), np.zeros((0, 2)), 1, 2.0)
    assert (nothing.before.ece, nothing.after.log_loss) == (None, None)

"""Scores under weights, against scikit-learn's with sample weights."""

import numpy as np
import pytest
from sklearn import metrics as reference

from ml import metrics, replicates
from ml.replicates import Curve


@pytest.mark.parametrize("decimals", [1, 8])  # with ties and without
def test_weighted_areas_agree_with_scikit_learn(decimals: int) -> None:
    random = np.random.default_rng(decimals)
    truth_N = random.integers(0, 2, 120)
    probability_N = (random.beta(2, 2, 120) * 0.6 + truth_N * 0.3).round(decimals)
    weight_BN = random.integers(0, 4, (5, 120)).astype(np.float32)
    counts = Curve.of(truth_N == 1, probability_N).counted(weight_BN)
    for row, weight_N in enumerate(weight_BN):
        area = reference.roc_auc_score(truth_N, probability_N, sample_weight=weight_N)
        precision = reference.average_precision_score(truth_N, probability_N, sample_weight=weight_N)
        assert counts.area()[row] == pytest.approx(area, abs=1e-5)
        assert counts.average_precision()[row] == pytest.approx(precision, abs=1e-5)


@pytest.mark.parametrize("at", replicates.FIXED)
def test_a_rate_at_a_fixed_other_rate_is_the_best_point_of_scikit_learns_curve(at: float) -> None:
    random = np.random.default_rng(2)
    truth_N = random.integers(0, 2, 150)
    probability_N = (random.beta(2, 2, 150) * 0.6 + truth_N * 0.3).round(2)
    scores = metrics.evaluate(truth_N, np.stack([1 - probability_N, probability_N], axis=1), ("a", "b"), "b")
    false_alarms, found, _ = reference.roc_curve(truth_N, probability_N, drop_intermediate=False)
    sensitivity = scores.sensitivity_at_specificity[f"{at:.2f}"]
    specificity = scores.specificity_at_sensitivity[f"{at:.2f}"]
    assert sensitivity.value == pytest.approx(found[1 - false_alarms >= at - 1e-9].max())
    assert specificity.value == pytest.approx((1 - false_alarms[found >= at - 1e-9]).max())
    for score in (sensitivity, specificity):
        assert 0 <= score.low < score.value < score.high <= 1  # type: ignore[operator]


def test_ninety_percent_of_ten_images_are_nine() -> None:
    # Ten negatives, of which one beats the only positives: at a specificity of 0.90 all three are found.
    probability_N = np.array([0.8, 0.8, 0.8, 0.9, *np.linspace(0.1, 0.5, 9)])
    counts = Curve.of(np.arange(13) < 3, probability_N).counted(np.ones((1, 13)))
    assert (counts.sensitivity_at(0.90)[0], counts.sensitivity_at(0.95)[0]) == (1, 0)
    assert counts.specificity_at(0.95)[0] == pytest.approx(0.9)


def test_weighted_decisions_agree_with_scikit_learn() -> None:
    random = np.random.default_rng(3)
    truth_N, decided_N = random.integers(0, 3, 90), random.integers(0, 3, 90)
    weight_BN = random.integers(0, 4, (4, 90)).astype(np.float32)
    shown = replicates._indicators(truth_N, decided_N, 3)
    drawn = replicates.of_counts(*(weight_BN @ is_so_NK for is_so_NK in shown))
    for row, weight_N in enumerate(weight_BN):
        given = {"y_true": truth_N, "y_pred": decided_N, "sample_weight": weight_N}
        assert drawn["accuracy"][row] == pytest.approx(reference.accuracy_score(**given))
        assert drawn["mcc"][row] == pytest.approx(reference.matthews_corrcoef(**given))
        assert drawn["macro_f1"][row] == pytest.approx(reference.f1_score(average="macro", **given))
        assert drawn["balanced_accuracy"][row] == pytest.approx(reference.balanced_accuracy_score(**given))
        assert drawn["recall 1"][row] == pytest.approx(reference.recall_score(labels=[1], average="macro", **given))
        is_2 = {"y_true": truth_N != 2, "y_pred": decided_N != 2, "sample_weight": weight_N}
        assert drawn["specificity 2"][row] == pytest.approx(reference.recall_score(**is_2))
        assert drawn["npv 2"][row] == pytest.approx(reference.precision_score(**is_2))
        expected = reference.precision_score(labels=[2], average="macro", **given)
        assert drawn["precision 2"][row] == pytest.approx(expected)


def test_a_draw_without_a_class_is_undefined() -> None:
    counts = Curve.of(np.array([True, False]), np.array([0.8, 0.3])).counted(np.array([[1.0, 0.0], [0.0, 2.0]]))
    for value_B in (counts.area(), counts.sensitivity_at(0.9), counts.specificity_at(0.9)):
        assert np.isnan(value_B).all()

"""Net benefit by hand."""

import numpy as np
import pytest

from ml.netbenefit import decision_curve


def test_net_benefit_weighs_false_alarms_by_the_odds_of_the_threshold() -> None:
    curve = decision_curve(np.array([True, True, False, False, False]), np.array([0.9, 0.3, 0.6, 0.2, 0.1]))
    assert curve is not None
    # By hand at 0.2 (a probability at the threshold is acted on): 2 found, 2 alarms: 2/5 - 2/5 * 0.25 = 0.3;
    # everybody: 2/5 - 3/5 * 0.25 = 0.25. At 0.5: 1/5 - 1/5 = 0 and 2/5 - 3/5 = -0.2.
    at = {threshold: number for number, threshold in enumerate(curve.thresholds)}
    assert (curve.model[at[0.2]], curve.treat_all[at[0.2]]) == pytest.approx((0.3, 0.25))
    assert (curve.model[at[0.5]], curve.treat_all[at[0.5]]) == pytest.approx((0, -0.2))
    assert set(curve.treat_none) == {0}


def test_a_perfect_model_is_worth_the_prevalence_at_every_threshold() -> None:
    curve = decision_curve(np.array([True, False, False, False]), np.array([1.0, 0.0, 0.0, 0.0]))
    assert curve is not None
    assert curve.model == pytest.approx([0.25] * 99)


@pytest.mark.parametrize("positives", [0, 2])
def test_images_of_one_class_have_no_curve(positives: int) -> None:
    assert decision_curve(np.arange(2) < positives, np.array([0.4, 0.6])) is None
    assert decision_curve(np.zeros(0, bool), np.zeros(0)) is None

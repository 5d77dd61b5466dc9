"""DeLong's method on the example of its own paper.

DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837, section 3: three tests that are to tell which patients with
ovarian cancer benefit from surgery of an obstructed bowel. The values of the 43 patients who have all three tests, and
the figures expected here, are those of the SAS/STAT User's Guide, the LOGISTIC procedure, "Comparing Receiver Operating
Characteristic Curves", which analyses these patients with ROC and ROCCONTRAST statements.
"""

import math

import numpy as np
import pytest

from ml import comparison, ranking

# Albumin, total protein, Krebs-Goplerud score: of the 12 patients of one outcome, then of the 31 of the other.
SOME = """
3.0 5.8 10   2.8 4.8 6   0.9 4.0 5   2.5 5.7 8   3.6 6.7 4   4.2 7.6 4
4.0 6.6 6   3.0 4.7 8   3.3 6.8 6   1.7 4.0 7   2.9 5.7 9   2.8 6.2 8
"""
OTHERS = """
3.2 6.3 5   3.9 6.8 3   3.2 5.8 3   1.6 5.6 5   3.8 5.7 5   3.7 6.7 6   3.2 5.4 4   3.8 6.6 6
4.1 6.6 5   3.6 5.7 5   4.3 7.0 4   2.3 4.4 6   3.5 5.8 6   3.8 6.8 7   4.5 7.4 5   3.7 7.4 5
3.1 6.6 6   4.1 8.2 6   4.3 7.0 5   4.3 6.5 4   3.2 5.1 5   2.6 4.7 6   3.7 6.1 5   3.3 6.3 7
4.2 7.7 6   3.5 6.2 5   2.1 4.8 7   4.0 7.0 7   3.3 5.7 6   3.7 6.9 5   3.6 6.6 5
"""


@pytest.fixture(scope="module")
def patients() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Who is of the 31, and the three tests of each; a high value speaks for it, of the score a low one."""
    value_N3 = np.array((SOME + OTHERS).split(), float).reshape(-1, 3)
    tests = {"albumin": value_N3[:, 0], "protein": value_N3[:, 1], "score": 10 - value_N3[:, 2]}
    return np.arange(43) >= 12, tests


@pytest.mark.parametrize(
    ("name", "area", "deviation", "low", "high"),
    [("albumin", 0.7366, 0.0927, 0.5549, 0.9182), ("score", 0.7258, 0.1028, 0.5243, 0.9273),
     ("protein", 0.6478, 0.1000, 0.4518, 0.8439)],
)  # fmt: skip
def test_the_area_of_each_test_and_its_deviation_are_those_published(
    patients: tuple[np.ndarray, dict[str, np.ndarray]],
    name: str,
    area: float,
    deviation: float,
    low: float,
    high: float,
) -> None:
    is_positive_N, tests = patients
    area_1, covariance_11 = ranking.auc_covariance(is_positive_N, tests[name][None], np.arange(43))
    found = math.sqrt(covariance_11[0, 0])
    assert (area_1[0], found) == pytest.approx((area, deviation), abs=5e-5)
    assert (area_1[0] - 1.959964 * found, area_1[0] + 1.959964 * found) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("name", "value", "deviation", "low", "high", "p_value"),
    [("albumin", 0.0108, 0.0953, -0.1761, 0.1976, 0.9102), ("protein", -0.0780, 0.1046, -0.2830, 0.1271, 0.4561)],
)
def test_the_paired_differences_to_the_score_are_those_published(
    patients: tuple[np.ndarray, dict[str, np.ndarray]],
    name: str,
    value: float,
    deviation: float,
    low: float,
    high: float,
    p_value: float,
) -> None:
    is_positive_N, tests = patients
    found = comparison.auc_difference(is_positive_N, np.stack([tests["score"], tests[name]]), np.arange(43))
    assert (found.value, found.low, found.high, found.p_value) == pytest.approx((value, low, high, p_value), abs=5e-5)
    assert found.high is not None
    assert (found.high - value) / 1.959964 == pytest.approx(deviation, abs=1e-4)


def test_the_area_of_the_evaluation_has_the_published_variance_on_the_logit_scale(
    patients: tuple[np.ndarray, dict[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "_ENOUGH_FOR_DELONG", 12)  # it has its doubts about 12 patients
    is_positive_N, tests = patients
    probability_N = tests["albumin"] / 10
    score = ranking.auc(is_positive_N.astype(int), np.stack([1 - probability_N, probability_N], axis=1), [1])
    assert score.value == pytest.approx(0.7366, abs=5e-5)
    half = 1.959964 * 0.0927 / (0.7366 * 0.2634)
    for bound, side in ((score.low, -1), (score.high, 1)):
        assert bound is not None
        assert math.log(bound / (1 - bound)) == pytest.approx(math.log(0.7366 / 0.2634) + side * half, abs=2e-3)

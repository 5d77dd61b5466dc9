"""Areas under curves: golden figures, scikit-learn's, and intervals that hold the truth."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from sklearn import metrics as reference

from ml import ranking
from ml.intervals import Score

# Six images: positives at 0.9, 0.6, 0.4; negatives at 0.6, 0.3, 0.1.
TRUTH_N = np.array([1, 1, 1, 0, 0, 0])
PROBABILITY_N = np.array([0.9, 0.6, 0.4, 0.6, 0.3, 0.1])


def columns(probability_N: np.ndarray) -> np.ndarray:
    return np.stack([1 - probability_N, probability_N], axis=1)


def normal_images(
    random: np.random.Generator, positives: int, negatives: int, area: float
) -> tuple[np.ndarray, np.ndarray]:
    """Images of two normal distributions whose true area under the ROC curve is `area`."""
    truth_N = np.repeat([1, 0], [positives, negatives])
    distance = math.sqrt(2) * NormalDist().inv_cdf(area)
    return truth_N, columns(1 / (1 + np.exp(-random.normal(distance * truth_N))))


def test_the_area_is_the_share_of_pairs_in_the_right_order() -> None:
    # Pairs by hand: 0.9 beats 3; 0.6 beats 2 and ties 1; 0.4 beats 2: 7.5 of 9.
    assert ranking.auc(TRUTH_N, columns(PROBABILITY_N), [1]).value == pytest.approx(7.5 / 9)


def test_the_average_precision_is_the_area_of_steps() -> None:
    # By hand: 1/3 at precision 1, 1/3 at 2/3 (with the tie), 1/3 at 3/4.
    expected = (1 + 2 / 3 + 3 / 4) / 3
    assert ranking.average_precision(TRUTH_N, columns(PROBABILITY_N), [1]).value == pytest.approx(expected)


@pytest.mark.parametrize("decimals", [1, 2, 8])  # few decimals, many ties
def test_two_classes_agree_with_scikit_learn(decimals: int) -> None:
    random = np.random.default_rng(decimals)
    truth_N = random.integers(0, 2, 300)
    probability_N = (random.beta(2, 2, 300) * 0.6 + truth_N * 0.3).round(decimals)
    area = ranking.auc(truth_N, columns(probability_N), [1]).value
    precision = ranking.average_precision(truth_N, columns(probability_N), [1]).value
    assert area == pytest.approx(reference.roc_auc_score(truth_N, probability_N))
    assert precision == pytest.approx(reference.average_precision_score(truth_N, probability_N))


def test_many_classes_agree_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth_N = random.integers(0, 4, 200)
    scores_NK = np.exp(random.normal(size=(200, 4)) + 1.2 * np.eye(4)[truth_N])
    probabilities_NK = scores_NK / scores_NK.sum(axis=1, keepdims=True)
    area = ranking.auc(truth_N, probabilities_NK, range(4)).value
    precision = ranking.average_precision(truth_N, probabilities_NK, range(4)).value
    assert area == pytest.approx(reference.roc_auc_score(truth_N, probabilities_NK, multi_class="ovr"))
    assert precision == pytest.approx(reference.average_precision_score(truth_N, probabilities_NK))


def test_the_variance_of_six_images_by_hand() -> None:
    # DeLong's structural components: positives 1, 2.5/3, 2/3; negatives 1.5/3, 1, 1. Their variances are 0.027778 and
    # 0.083333; divided by three images each and added: 0.037037.
    wins_N = ranking._wins(TRUTH_N == 1, PROBABILITY_N)
    assert wins_N / 3 == pytest.approx([1, 2.5 / 3, 2 / 3, 0.5, 1, 1])
    assert ranking._variance_of_sum(wins_N / 9, TRUTH_N) == pytest.approx(0.037037, abs=1e-6)


def test_the_variance_is_delongs() -> None:
    truth_N, probabilities_NK = normal_images(np.random.default_rng(5), 35, 50, 0.85)
    positive, negative = probabilities_NK[truth_N == 1, 1], probabilities_NK[truth_N == 0, 1]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)  # DeLong's kernel, pair by pair
    deviation = math.sqrt(wins.mean(axis=1).var(ddof=1) / 35 + wins.mean(axis=0).var(ddof=1) / 50)
    score = ranking.auc(truth_N, probabilities_NK, [1])
    low = math.log(wins.mean() / (1 - wins.mean())) - 1.959964 * deviation / (wins.mean() * (1 - wins.mean()))
    assert score.low == pytest.approx(1 / (1 + math.exp(-low)), abs=1e-6)
    assert ranking.auc(truth_N, probabilities_NK, [0, 1]) == pytest.approx(score)  # both columns tell the same


@pytest.mark.parametrize("labels", [[1], [0, 1, 2]])
def test_the_interval_of_an_area_agrees_with_a_bootstrap(labels: list[int]) -> None:
    random = np.random.default_rng(1)
    truth_N = np.repeat([0, 1, 2], [80, 60, 100])
    probabilities_NK = random.dirichlet([2, 2, 2], len(truth_N)) * 0.6 + 0.4 * np.eye(3)[truth_N] * random.random(
        (240, 1)
    )
    score = ranking.auc(truth_N, probabilities_NK, labels)
    drawn = []
    for _ in range(600):
        image_N = np.concatenate([random.choice(np.flatnonzero(truth_N == k), (truth_N == k).sum()) for k in range(3)])
        drawn.append(ranking.auc(truth_N[image_N], probabilities_NK[image_N], labels).value)
    assert (score.low, score.high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.01)


@pytest.mark.parametrize(
    ("positives", "negatives", "area"), [(114, 42, 0.9), (40, 60, 0.75), (10, 100, 0.9), (6, 5, 0.8)]
)
def test_95_percent_of_the_intervals_of_an_area_hold_the_truth(positives: int, negatives: int, area: float) -> None:
    random = np.random.default_rng(2)
    scores = [ranking.auc(*normal_images(random, positives, negatives, area), [1]) for _ in range(800)]
    assert 0.93 < np.mean([score.low <= area <= score.high for score in scores]) < 0.985  # type: ignore[operator]


def test_intervals_of_average_precision_hold_the_truth() -> None:
    random = np.random.default_rng(3)
    truth = ranking.average_precision(*normal_images(random, 100_000, 150_000, 0.85), [1]).value
    scores = [ranking.average_precision(*normal_images(random, 40, 60, 0.85), [1]) for _ in range(500)]
    assert np.mean([score.low <= truth <= score.high for score in scores]) > 0.94  # type: ignore[operator]


@pytest.mark.parametrize("truth", [[], [1], [0, 0, 0], [1, 1]])
def test_without_both_classes_nothing_can_be_ranked(truth: list[int]) -> None:
    truth_N, probabilities_NK = np.array(truth, int), columns(np.linspace(0.2, 0.8, len(truth)))
    assert ranking.auc(truth_N, probabilities_NK, [1]) == Score()
    assert ranking.average_precision(truth_N, probabilities_NK, [1]) == Score()
    assert ranking.roc(truth_N == 1, probabilities_NK[:, 1]) is None


def test_equal_probabilities_are_chance_and_not_certain() -> None:
    truth_N = np.repeat([0, 1], 50)
    score = ranking.auc(truth_N, np.full((100, 2), 0.5), [1])
    assert score.value == 0.5
    assert score.low < 0.45 < 0.55 < score.high  # type: ignore[operator]
    assert ranking.roc(truth_N == 1, np.full(100, 0.5)).fpr == (0, 1)  # type: ignore[union-attr]


def test_a_class_without_images_does_not_count() -> None:
    truth_N = np.repeat([0, 2], 20)
    probabilities_NK = np.random.default_rng(0).dirichlet([1, 1, 1], 40)
    assert ranking.auc(truth_N, probabilities_NK, range(3)) == ranking.auc(truth_N, probabilities_NK, [0, 2])


def test_the_curve_has_the_corners_of_the_ranking() -> None:
    curve = ranking.roc(TRUTH_N == 1, PROBABILITY_N)
    assert curve is not None
    assert curve.fpr == pytest.approx((0, 0, 1 / 3, 1 / 3, 1))
    assert curve.tpr == pytest.approx((0, 1 / 3, 2 / 3, 1, 1))
    assert curve.thresholds == (None, 0.9, 0.6, 0.4, 0.1)


def test_a_long_curve_is_thinned_without_changing_its_area() -> None:
    truth_N, probabilities_NK = normal_images(np.random.default_rng(4), 4000, 6000, 0.9)
    curve = ranking.roc(truth_N == 1, probabilities_NK[:, 1])
    assert curve is not None
    assert len(curve.fpr) == len(curve.tpr) == len(curve.thresholds) <= ranking.MAX_POINTS
    assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(
        ranking.auc(truth_N, probabilities_NK, [1]).value, abs=2e-3
    )

"""Groups of images that are alike: draws, expanded percentiles, and whether 95 % of the intervals hold the truth."""

import math
import time

import numpy as np
import pytest
from scipy.stats import t as student

from ml import clusters, metrics
from ml.clusters import Clusters
from ml.intervals import REPLICATES, Score

CLASSES = ("benign", "malignant")


def patients(
    random: np.random.Generator, n: int, images: int, spread: float
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Truth, probabilities and patient of `n` patients, a third of them positive, whose images share an offset."""
    group_N = np.repeat(np.arange(n), images)
    truth_N = (group_N % 3 == 0).astype(int)
    logit_N = 1.5 * truth_N - 0.75 + random.normal(0, spread, n)[group_N] + random.normal(0, 0.5, n * images)
    probability_N = 1 / (1 + np.exp(-logit_N))
    return truth_N, np.stack([1 - probability_N, probability_N], axis=1), [f"P{number}" for number in group_N]


def test_draws_take_whole_groups_and_keep_the_number_of_groups_of_each_class() -> None:
    truth_N = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    grouping = Clusters.of(truth_N, ["a", "a", "b", None, "c", "c", "c", "d"])
    weight_BN = np.concatenate(list(grouping.draws(seed=3)))
    assert weight_BN.shape == (REPLICATES, 8)
    assert (weight_BN[:, 0] == weight_BN[:, 1]).all()
    assert set(weight_BN[:, [0, 2, 3]].sum(axis=1)) == {3}
    assert set(weight_BN[:, [4, 7]].sum(axis=1)) == {2}
    assert (weight_BN == np.concatenate(list(grouping.draws(seed=3)))).all()
    assert (grouping.n, grouping.is_clustered, grouping.holding(truth_N == 1)) == (5, True, 2)


def test_groups_of_several_classes_are_drawn_among_themselves_and_a_lonely_one_among_the_most() -> None:
    mixed = Clusters.of(np.array([0, 1, 0, 1, 0, 0]), ["a", "a", "b", "b", "c", "d"])
    assert mixed.stratum_G.tolist() == [-1, -1, 0, 0]
    lonely = Clusters.of(np.array([0, 1, 0, 0]), ["a", "a", "c", "d"])
    assert lonely.stratum_G.tolist() == [0, 0, 0]


def test_images_without_groups_are_not_clustered() -> None:
    truth_N = np.array([0, 1, 0])
    for groups in (None, [None] * 3, ["a", "b", None]):
        grouping = Clusters.of(truth_N, groups)
        assert (grouping.is_clustered, grouping.n, grouping.scale) == (False, 3, 1)
    assert Clusters.of(np.zeros(0, int)).n == 0


def test_a_group_for_each_image_is_needed() -> None:
    with pytest.raises(ValueError, match="3 images have 2 groups"):
        Clusters.of(np.array([0, 1, 0]), ["a", "b"])


def test_alike_images_count_as_one() -> None:
    # Kish by hand: groups of 4, 2 and 2 images are worth 8 * 8 / (16 + 4 + 4) = 2.667 independent ones.
    assert 8 * Clusters.of(np.zeros(8, int), list("aaaabbcc")).scale == pytest.approx(64 / 24)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 30, 500])
def test_students_quantile_agrees_with_scipy(freedom: int) -> None:
    assert clusters._student(freedom) == pytest.approx(student.ppf(0.975, freedom), rel=2e-3)


def test_percentiles_are_expanded_for_few_groups() -> None:
    drawn_B = np.linspace(0, 1, 10_001)
    few, many = (clusters.interval(drawn_B, units, Score(value=0.5, low=0, high=1)) for units in (10, 100_000))
    # By hand for 10: Phi(-sqrt(10 / 9) * 2.2622) = Phi(-2.3846) = 0.00855
    assert (few.low, few.high) == pytest.approx((0.00855, 0.99145), abs=2e-4)
    assert (many.low, many.high) == pytest.approx((0.025, 0.975), abs=2e-4)


def test_draws_that_teach_nothing_leave_the_cautious_bounds() -> None:
    cautious = Score(value=1.0, low=0.4, high=1.0)
    for drawn_B, units in ((np.ones(50), 9), (np.linspace(0, 1, 50), 1), (np.full(50, np.nan), 9), (np.zeros(0), 9)):
        assert clusters.interval(drawn_B, units, cautious) == cautious
    assert clusters.interval(np.linspace(0, 1, 50), 9, Score()) == Score()


def test_an_undefined_draw_does_not_count() -> None:
    drawn_B = np.concatenate([np.full(400, np.nan), np.linspace(0.4, 0.6, 1001)])
    score = clusters.interval(drawn_B, 10_000, Score(value=0.5, low=0, high=1))
    assert (score.low, score.high) == pytest.approx((0.405, 0.595), abs=1e-3)


def test_95_percent_of_the_intervals_of_patients_hold_the_truth_and_those_of_images_do_not() -> None:
    random = np.random.default_rng(0)
    everyone = metrics.evaluate(*patients(random, 10_000, 4, 1.0)[:2], CLASSES, "malignant")
    truth = {"accuracy": everyone.accuracy.value, "auc": everyone.auc.value, "sensitivity": everyone.sensitivity.value}
    draws = 60
    hits, naive = dict.fromkeys(truth, 0), dict.fromkeys(truth, 0)
    for _ in range(draws):
        truth_N, probabilities_NK, groups = patients(random, 60, 4, 1.0)
        for counts, names in ((hits, groups), (naive, None)):
            scores = metrics.evaluate(truth_N, probabilities_NK, CLASSES, "malignant", groups=names)
            for name in truth:
                score = getattr(scores, name)
                counts[name] += score.low <= truth[name] <= score.high
    assert all(hits[name] / draws >= 0.88 for name in truth), hits
    assert all(naive[name] / draws < 0.85 for name in truth), naive


def test_the_interval_of_an_area_agrees_with_obuchowskis_variance() -> None:
    """Obuchowski (1997), Biometrics 53:567: placement values summed over the images of a patient."""
    truth_N, probabilities_NK, groups = patients(np.random.default_rng(4), 240, 3, 1.0)
    positive, negative = probabilities_NK[truth_N == 1, 1], probabilities_NK[truth_N == 0, 1]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    area, patient_N = wins.mean(), np.unique(groups, return_inverse=True)[1]
    variance = 0.0
    for label, value_M in ((1, wins.mean(axis=1)), (0, wins.mean(axis=0))):
        sums = np.bincount(patient_N[truth_N == label], value_M - area)
        holding = len(np.unique(patient_N[truth_N == label]))
        variance += holding / (holding - 1) * float((sums**2).sum()) / (truth_N == label).sum() ** 2
    scores = metrics.evaluate(truth_N, probabilities_NK, CLASSES, "malignant", groups=groups)
    assert scores.auc.value == pytest.approx(area)
    assert scores.auc.high - scores.auc.low == pytest.approx(2 * 1.96 * math.sqrt(variance), rel=0.12)  # type: ignore[operator]


def test_perfect_answers_of_few_patients_are_less_certain_than_their_images_suggest() -> None:
    truth_N = np.repeat([0, 1], 20)
    groups = [f"P{number}" for number in np.repeat(np.arange(8), 5)]
    scores = metrics.evaluate(truth_N, np.eye(2)[truth_N], CLASSES, "malignant", groups=groups)
    assert scores.intervals
    assert (scores.intervals.method, scores.intervals.groups) == ("cluster bootstrap", 8)
    assert scores.accuracy.low == pytest.approx(8 / (8 + 1.96**2), abs=1e-3)  # Wilson, 8 of 8
    for name in ("auc", "sensitivity", "specificity", "average_precision", "f1", "mcc", "balanced_accuracy"):
        score = getattr(scores, name)
        assert score.value == pytest.approx(1)
        assert score.low < 0.75, name


def test_ten_thousand_images_of_patients_take_no_more_than_seconds() -> None:
    truth_N, probabilities_NK, groups = patients(np.random.default_rng(1), 2500, 4, 1.0)
    started_s = time.process_time()
    metrics.evaluate(truth_N, probabilities_NK, CLASSES, "malignant", groups=groups)
    assert time.process_time() - started_s < 4  # about 1 on an idle core

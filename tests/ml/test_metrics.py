"""All scores together: a golden table, scikit-learn's figures, and images that define nothing."""

import json

import numpy as np
import pytest
from sklearn import metrics as reference

from ml import metrics, ranking
from ml.errors import BadArtifact, BadConfig
from ml.metrics import Metrics, OperatingPoint, Score

CLASSES = ("benign", "malignant")
ABC = ("a", "b", "c")
SCORES = [name for name, field in Metrics.model_fields.items() if field.annotation is Score]


def two_classes(found: int, missed: int, alarms: int, rejected: int) -> Metrics:
    """The scores of a two-by-two table, with the probabilities 0.8 and 0.2."""
    truth_N = np.repeat([1, 1, 0, 0], [found, missed, alarms, rejected])
    probability_N = np.repeat([0.8, 0.2, 0.8, 0.2], [found, missed, alarms, rejected])
    return metrics.evaluate(truth_N, np.stack([1 - probability_N, probability_N], axis=1), CLASSES, "malignant")


def three_classes(n: int = 240, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth_N = random.choice(3, n, p=[0.5, 0.3, 0.2])
    scores_NK = np.exp(random.normal(size=(n, 3)) + 1.5 * np.eye(3)[truth_N])
    return truth_N, scores_NK / scores_NK.sum(axis=1, keepdims=True)


def test_a_two_by_two_table_by_hand() -> None:
    scores = two_classes(found=45, missed=5, alarms=10, rejected=40)
    assert scores.confusion.matrix == ((40, 10), (5, 45))
    assert (scores.confusion.labels, scores.confusion.rows_are) == (CLASSES, "truth")
    values = {name: getattr(scores, name).value for name in SCORES}
    assert values == pytest.approx(
        {
            "accuracy": 0.85, "sensitivity": 0.9, "specificity": 0.8, "ppv": 45 / 55, "npv": 40 / 45,
            "balanced_accuracy": 0.85, "f1": 90 / 105, "auc": (45 * 40 + 0.5 * (45 * 10 + 5 * 40)) / 2500,
            "average_precision": 0.9 * 45 / 55 + 0.1 * 0.5, "brier": (85 * 0.04 + 15 * 0.64) / 100,
            "mcc": (45 * 40 - 10 * 5) / (55 * 50 * 50 * 45) ** 0.5,
            "ece": (45 * abs(5 / 45 - 0.2) + 55 * abs(45 / 55 - 0.8)) / 100,
        }
    )  # fmt: skip
    assert scores.sensitivity.low == pytest.approx(0.7864, abs=1e-4)  # Wilson, 45 of 50
    assert scores.sensitivity.high == pytest.approx(0.9565, abs=1e-4)


def test_every_score_lies_in_its_interval() -> None:
    for scores in (two_classes(45, 5, 10, 40), two_classes(1, 1, 1, 1), metrics.evaluate(*three_classes(), ABC)):
        for name in SCORES:
            score = getattr(scores, name)
            least = -1 if name == "mcc" else 0
            assert score == Score() or least <= score.low <= score.value <= score.high <= 1, name


def test_the_operating_point_moves_the_table() -> None:
    truth_N, probability_N = np.array([1, 1, 0, 0]), np.array([0.9, 0.4, 0.45, 0.1])
    probabilities_NK = np.stack([1 - probability_N, probability_N], axis=1)
    point = OperatingPoint(threshold=0.3)
    moved = metrics.evaluate(truth_N, probabilities_NK, CLASSES, "malignant", point)
    plain = metrics.evaluate(truth_N, probabilities_NK, CLASSES, "malignant")
    assert (moved.sensitivity.value, moved.specificity.value, moved.operating_point) == (1, 0.5, point)
    assert (plain.sensitivity.value, plain.specificity.value, plain.operating_point) == (0.5, 1, None)
    assert moved.auc == plain.auc


def test_the_positive_class_may_be_the_first_one() -> None:
    truth_N, probability_N = np.array([0, 0, 0, 1]), np.array([0.9, 0.8, 0.3, 0.4])
    scores = metrics.evaluate(truth_N, np.stack([probability_N, 1 - probability_N], axis=1), CLASSES, "benign")
    assert scores.confusion.matrix == ((2, 1), (0, 1))
    assert (scores.sensitivity.value, scores.specificity.value) == pytest.approx((2 / 3, 1))
    assert scores.auc.value == pytest.approx(2 / 3)


def test_many_classes_agree_with_scikit_learn() -> None:
    truth_N, probabilities_NK = three_classes()
    decided_N = probabilities_NK.argmax(axis=1)
    scores = metrics.evaluate(truth_N, probabilities_NK, ABC)
    assert scores.confusion.matrix == tuple(map(tuple, reference.confusion_matrix(truth_N, decided_N).tolist()))
    assert scores.f1.value == pytest.approx(reference.f1_score(truth_N, decided_N, average="macro"))
    assert scores.balanced_accuracy.value == pytest.approx(reference.balanced_accuracy_score(truth_N, decided_N))
    expected = reference.precision_recall_fscore_support(truth_N, decided_N)
    for row, one in zip(np.array(expected).T, scores.per_class, strict=True):
        assert (one.precision.value, one.recall.value, one.f1.value, one.n) == pytest.approx(tuple(row))
    assert scores.mcc.value == pytest.approx(reference.matthews_corrcoef(truth_N, decided_N))
    assert (scores.average, scores.roc, scores.sensitivity) == ("macro", None, Score())


def test_each_of_many_classes_against_the_rest_agrees_with_scikit_learn() -> None:
    truth_N, probabilities_NK = three_classes()
    decided_N = probabilities_NK.argmax(axis=1)
    for label, one in enumerate(metrics.evaluate(truth_N, probabilities_NK, ABC).per_class):
        area = reference.roc_auc_score(truth_N == label, probabilities_NK[:, label])
        assert one.auc.value == pytest.approx(area)
        assert one.specificity.value == pytest.approx(reference.recall_score(truth_N != label, decided_N != label))
        assert one.npv.value == pytest.approx(reference.precision_score(truth_N != label, decided_N != label))
        assert one.roc
        assert np.trapezoid(one.roc.tpr, one.roc.fpr) == pytest.approx(area, abs=2e-3)
        for score in (one.auc, one.specificity, one.npv):
            assert 0 <= score.low < score.value < score.high <= 1  # type: ignore[operator]


def test_the_intervals_of_one_class_against_the_rest_are_delongs_and_for_patients_the_draws() -> None:
    truth_N, probabilities_NK = three_classes()
    fourfold = np.repeat(truth_N, 4), np.repeat(probabilities_NK, 4, axis=0)
    groups = [f"patient {number // 4}" for number in range(4 * len(truth_N))]
    alone, apart = (metrics.evaluate(*given, ABC).per_class for given in ((truth_N, probabilities_NK), fourfold))
    patients = metrics.evaluate(*fourfold, ABC, groups=groups).per_class
    for label in range(3):
        probability_N = probabilities_NK[:, label]
        columns_N2 = np.stack([1 - probability_N, probability_N], axis=1)
        assert alone[label].auc == ranking.auc((truth_N == label).astype(int), columns_N2, [1])
        for name in ("auc", "specificity", "npv"):
            once, wrong, right = (getattr(of[label], name) for of in (alone, apart, patients))
            assert right.high - right.low > 1.5 * (wrong.high - wrong.low), name
            assert right.high - right.low == pytest.approx(once.high - once.low, rel=0.3), name


def test_with_a_positive_class_the_scores_of_each_class_are_those_at_the_top() -> None:
    scores = two_classes(45, 5, 10, 40)
    benign, malignant = scores.per_class
    assert (malignant.specificity, malignant.npv) == (scores.specificity, scores.npv)
    assert (benign.specificity, benign.npv) == (scores.sensitivity, scores.ppv)
    assert (benign.auc, malignant.auc, malignant.roc) == (scores.auc, scores.auc, None)


def test_the_doubt_about_one_class_against_the_rest_counts_the_few_patients_that_are_the_rest() -> None:
    random = np.random.default_rng(0)
    truth_N = np.repeat([1, 0], [90, 48])  # 30 patients with three images, and 4 with twelve
    groups = [f"p{number // 3}" for number in range(90)] + [f"few {number // 12}" for number in range(48)]
    probability_N = np.clip(0.5 + 0.25 * (truth_N - 0.5) + random.normal(0, 0.25, 138), 0, 1)
    probabilities_NK = np.stack([1 - probability_N, probability_N], axis=1)
    scores = metrics.evaluate(truth_N, probabilities_NK, CLASSES, "malignant", groups=groups)
    benign, malignant = scores.per_class
    assert (malignant.specificity, benign.specificity) == (scores.specificity, scores.sensitivity)
    assert (malignant.npv, benign.npv) == (scores.npv, scores.ppv)
    apart = metrics.evaluate(truth_N, probabilities_NK, CLASSES, groups=groups).per_class
    assert (apart[0].auc.low, apart[0].auc.high) == pytest.approx((scores.auc.low, scores.auc.high), abs=1e-4)


def test_the_curves_of_very_many_classes_have_few_points() -> None:
    random = np.random.default_rng(0)
    truth_N = random.integers(0, 60, 3000)
    found = metrics.evaluate(truth_N, random.dirichlet(np.ones(60), 3000), [f"class {k}" for k in range(60)])
    assert all(one.roc and len(one.roc.fpr) <= 33 for one in found.per_class)


def test_the_interval_of_macro_f1_is_repeatable_and_shrinks_with_more_images() -> None:
    small, again, large = (metrics.evaluate(*three_classes(n), ABC).f1 for n in (100, 100, 2500))
    assert small == again
    assert 3 < (small.high - small.low) / (large.high - large.low) < 8  # type: ignore[operator]


def test_perfect_answers_are_not_certain() -> None:
    truth_N = np.repeat([0, 1, 2], 10)
    scores = metrics.evaluate(truth_N, np.eye(3)[truth_N], ABC)
    for name in ("accuracy", "auc", "average_precision", "balanced_accuracy", "f1"):
        score = getattr(scores, name)
        assert (score.value, score.high) == pytest.approx((1, 1)), name
        assert score.low < 0.97, name


def test_no_images_define_no_score() -> None:
    for positive_class in ("malignant", None):
        scores = metrics.evaluate(np.zeros(0, int), np.zeros((0, 2)), CLASSES, positive_class)
        assert [getattr(scores, name) for name in SCORES] == [Score()] * len(SCORES)
        assert (scores.n, scores.roc, scores.calibration.brier) == (0, None, None)


@pytest.mark.parametrize(("label", "undefined"), [(0, "sensitivity"), (1, "specificity")])
def test_images_of_one_class_leave_scores_of_both_undefined(label: int, undefined: str) -> None:
    probabilities_NK = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    scores = metrics.evaluate(np.full(3, label), probabilities_NK, CLASSES, "malignant")
    assert (scores.auc, getattr(scores, undefined), scores.roc) == (Score(), Score(), None)
    assert scores.accuracy.value == pytest.approx([2 / 3, 1 / 3][label])


def test_one_image_has_an_accuracy() -> None:
    for positive_class in ("malignant", None):
        scores = metrics.evaluate(np.array([1]), np.array([[0.3, 0.7]]), CLASSES, positive_class)
        assert (scores.accuracy.value, scores.auc) == (1, Score())
        assert scores.accuracy.low == pytest.approx(0.2065, abs=1e-4)


def test_a_class_that_no_image_shows_does_not_count() -> None:
    truth_N, probabilities_NK = np.array([0, 0, 1, 1]), np.eye(3)[[0, 0, 1, 2]]
    scores = metrics.evaluate(truth_N, probabilities_NK, ABC)
    assert scores.f1.value == pytest.approx((1 + 2 / 3) / 2)
    assert (scores.per_class[2].recall, scores.per_class[2].precision.value) == (Score(), 0)


def test_scores_survive_json() -> None:
    for scores in (two_classes(45, 5, 10, 40), metrics.evaluate(*three_classes(), ABC)):
        text = json.dumps(scores.model_dump(mode="json"), allow_nan=False)
        assert Metrics.model_validate_json(text) == scores
        assert json.loads(text)["per_class"][0]["class"] == scores.confusion.labels[0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_probability_that_is_no_number_is_an_error(bad: float) -> None:
    with pytest.raises(BadArtifact, match="not a number"):
        metrics.evaluate(np.array([0, 1]), np.array([[0.5, 0.5], [bad, 0.5]]), CLASSES, "malignant")


@pytest.mark.parametrize(("classes", "positive_class"), [(ABC, "a"), (CLASSES, "maligne")])
def test_a_positive_class_that_is_not_one_of_two_is_an_error(classes: tuple[str, ...], positive_class: str) -> None:
    with pytest.raises(BadConfig, match=f"positive class '{positive_class}' must be one of two"):
        metrics.evaluate(np.array([0]), np.full((1, len(classes)), 0.5), classes, positive_class)


def test_arrays_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"2 images, 2 classes: probabilities are \(2, 3\)"):
        metrics.evaluate(np.array([0, 1]), np.full((2, 3), 1 / 3), CLASSES)
    with pytest.raises(ValueError, match="outside 0 to 1"):
        metrics.evaluate(np.array([0, 2]), np.full((2, 2), 0.5), CLASSES)

"""Scores of probabilities: what is drawn, against images repeated; and the intervals."""

import numpy as np
import pytest

from ml import calibration, conformal, metrics, netbenefit
from ml.beliefs import Beliefs
from ml.clusters import Clusters
from ml.conformal import ConformalRule
from ml.intervals import Score, proportion
from ml.metrics import Metrics
from ml.replicates import Drawn

CLASSES = ("benign", "malignant")
RULES = (ConformalRule(alpha=0.1, threshold=0.2, n=100), ConformalRule(alpha=0.05, threshold=0.6, n=100))


def images(n: int = 150, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth_N = random.integers(0, 2, n)
    probability_N = np.clip(random.beta(2, 2, n) * 0.7 + truth_N * 0.3, 0, 1).round(3)
    return truth_N, np.stack([1 - probability_N, probability_N], axis=1)


def drawn(truth_N: np.ndarray, probabilities_NK: np.ndarray, positive: int | None, weight_BN: np.ndarray) -> Drawn:
    decided_N = probabilities_NK.argmax(axis=1)
    beliefs = Beliefs.of(truth_N, decided_N, probabilities_NK, positive, None, RULES)
    return {name: value for statistic in beliefs.statistics() for name, value in statistic(weight_BN).items()}


@pytest.mark.parametrize("positive", [None, 0, 1])
def test_what_is_drawn_is_what_the_images_repeated_have(positive: int | None) -> None:
    truth_N, probabilities_NK = images()
    weight_BN = np.random.default_rng(1).integers(0, 4, (4, len(truth_N))).astype(np.float32)
    found = drawn(truth_N, probabilities_NK, positive, weight_BN)
    for row, weight_N in enumerate(weight_BN):
        image_M = np.repeat(np.arange(len(truth_N)), weight_N.astype(int))
        truth_M, probabilities_MK = truth_N[image_M], probabilities_NK[image_M]
        if positive is None:
            expected = calibration.of_decided_class(truth_M, probabilities_MK, probabilities_MK.argmax(axis=1))
        else:
            expected = calibration.of_positive_class(truth_M == positive, probabilities_MK[:, positive])
            share = (truth_N == positive).mean()  # of all images, whatever was drawn
            said_P, said_Q = (probabilities_MK[truth_M == label, positive] for label in (positive, 1 - positive))
            benefit_T = [
                share * (said_P >= at).mean() - (1 - share) * (said_Q >= at).mean() * at / (1 - at)
                for at in netbenefit.THRESHOLDS
            ]
            assert [found[f"net benefit {at}"][row] for at in range(99)] == pytest.approx(benefit_T, abs=1e-5)
        assert found["ece"][row] == pytest.approx(expected.ece, abs=1e-5)
        assert found["brier"][row] == pytest.approx(expected.brier, abs=1e-5)
        frequencies = [np.nan if one.frequency is None else one.frequency for one in expected.bins]
        assert [found[f"bin {number}"][row] for number in range(10)] == pytest.approx(frequencies, nan_ok=True)
        for number, rule in enumerate(RULES):
            size_M = conformal.sets(rule, probabilities_MK).sum(axis=1)
            assert found[f"set size {number}"][row] == pytest.approx(size_M.mean(), abs=1e-5)
            assert found[f"one class {number}"][row] == pytest.approx((size_M == 1).mean(), abs=1e-5)
            assert found[f"no class {number}"][row] == pytest.approx((size_M == 0).mean(), abs=1e-5)


def scored(groups: list[str] | None = None, positive: str | None = "malignant") -> Metrics:
    return metrics.evaluate(*images(), CLASSES, positive, groups=groups, rules=RULES)


PAIRS = [f"patient {number // 3}" for number in range(150)]


@pytest.mark.parametrize("positive", ["malignant", None])
@pytest.mark.parametrize("groups", [None, PAIRS])
def test_every_score_of_probabilities_has_an_interval_about_it(groups: list[str] | None, positive: str | None) -> None:
    found = scored(groups, positive)
    assert (found.ece.value, found.brier.value) == (found.calibration.ece, pytest.approx(found.calibration.brier))
    scores = [found.ece, found.brier]
    for one in found.conformal:
        assert (one.set_size.value, one.one_class.value, one.no_class.value) == (
            one.mean_set_size, one.singletons, one.empty,
        )  # fmt: skip
        scores += [one.set_size, one.one_class, one.no_class]
    for bin in found.calibration.bins:
        assert bin.observed.value == (pytest.approx(bin.frequency) if bin.n else None)
        scores += [bin.observed] if bin.n else []
    for score in scores:
        assert score.low <= score.value <= score.high  # type: ignore[operator]
        assert score.low < score.high  # type: ignore[operator]


def test_bins_of_independent_images_have_wilsons_intervals_and_those_of_patients_the_draws() -> None:
    # Four images of a patient are one image four times: only the number of patients can be what counts.
    truth_N, probabilities_NK = images(200)
    fourfold = (np.repeat(truth_N, 4), np.repeat(probabilities_NK, 4, axis=0))
    alone = metrics.evaluate(truth_N, probabilities_NK, CLASSES, "malignant").calibration.bins
    apart = metrics.evaluate(*fourfold, CLASSES, "malignant").calibration.bins
    groups = [f"patient {number // 4}" for number in range(800)]
    whole = metrics.evaluate(*fourfold, CLASSES, "malignant", groups=groups).calibration.bins
    compared = 0
    for one, other, patients in zip(alone, apart, whole, strict=True):
        if one.n < 15 or one.frequency in (0, 1):
            continue
        assert other.observed == proportion(other.n * float(other.frequency or 0), other.n)
        assert _width(patients.observed) > 1.5 * _width(other.observed)
        assert _width(patients.observed) == pytest.approx(_width(one.observed), rel=0.5)
        compared += 1
    assert compared >= 3


def test_the_error_of_calibration_is_not_certain_where_every_draw_agrees() -> None:
    truth_N = np.repeat([0, 1], 20)
    found = metrics.evaluate(truth_N, np.eye(2)[truth_N], CLASSES, "malignant").ece
    assert (found.value, found.low) == (0, 0)
    assert found.high is not None
    assert found.high > 0.05


def test_the_lower_bound_of_the_error_of_calibration_mirrors_the_upper_one() -> None:
    """Draws of a believable model err more than its images do: their percentiles alone would rule the truth out."""
    random = np.random.default_rng(2)
    probability_N = random.random(300)
    truth_N = (random.random(300) < probability_N).astype(int)
    found = metrics.evaluate(truth_N, np.stack([1 - probability_N, probability_N], axis=1), CLASSES, "malignant").ece
    assert found.value is not None
    assert found.high is not None
    assert found.low == pytest.approx(max(0.0, 2 * found.value - found.high))


def test_net_benefit_has_the_interval_of_its_two_rates() -> None:
    truth_N, probabilities_NK = images()
    curve = scored().decision_curve
    assert curve
    assert len(curve.low) == len(curve.high) == len(curve.thresholds)
    at = curve.thresholds.index(0.5)
    is_acted_N, positives = probabilities_NK[:, 1] >= 0.5, int(truth_N.sum())
    found = proportion(int((is_acted_N & (truth_N == 1)).sum()), positives)
    alarms = proportion(int((is_acted_N & (truth_N == 0)).sum()), 150 - positives)
    share = positives / 150
    below = np.hypot(share * _below(found), (1 - share) * _above(alarms))  # by MOVER; at 0.5 an alarm costs one find
    above = np.hypot(share * _above(found), (1 - share) * _below(alarms))
    assert (curve.low[at], curve.high[at]) == pytest.approx((curve.model[at] - below, curve.model[at] + above))


def test_net_benefit_of_patients_has_the_interval_of_the_draws() -> None:
    alone, patients = scored().decision_curve, scored(PAIRS).decision_curve
    assert alone
    assert patients
    assert alone.model == patients.model
    assert alone.low != patients.low
    for low, model, high in zip(patients.low, patients.model, patients.high, strict=True):
        assert low <= model <= high


def test_the_draws_of_net_benefit_take_the_prevalence_as_given() -> None:
    # Patients of unequal size: what is drawn of either class varies, what acting on every image is worth does not.
    size_G = np.array([1, 2, 12, 1, 3, 9])
    truth_N, groups = np.repeat([1, 1, 1, 0, 0, 0], size_G), np.repeat([f"patient {n}" for n in range(6)], size_G)
    probability_N = np.linspace(0.4, 0.9, len(truth_N))
    probabilities_NK = np.stack([1 - probability_N, probability_N], axis=1)
    weight_BN = next(Clusters.of(truth_N, groups.tolist()).draws())
    found, curve = (
        drawn(truth_N, probabilities_NK, 1, weight_BN),
        netbenefit.decision_curve(truth_N == 1, probability_N),
    )
    assert curve
    assert np.ptp(weight_BN @ truth_N / weight_BN.sum(axis=1)) > 0.5
    for number in range(40):
        assert np.ptp(found[f"net benefit {number}"]) < 1e-9
        assert found[f"net benefit {number}"][0] == pytest.approx(curve.treat_all[number])
    assert np.ptp(found["net benefit 60"]) > 0.01


@pytest.mark.parametrize("absent", [0, 1])
def test_a_draw_without_one_of_the_classes_has_no_net_benefit(absent: int) -> None:
    truth_N, probabilities_NK = images()
    found = drawn(truth_N, probabilities_NK, 1, (truth_N != absent).astype(np.float32)[None])
    assert all(np.isnan(found[f"net benefit {number}"][0]) for number in range(99))


def test_scores_of_earlier_releases_are_read_without_what_they_lack() -> None:
    old = scored().model_dump(mode="json")
    for name in ("ece", "no_group_level"):
        del old[name]
    for name in ("low", "high"):
        del old["decision_curve"][name]
    for one in old["conformal"]:
        del one["set_size"], one["one_class"], one["no_class"]
    for one in old["calibration"]["bins"]:
        del one["observed"]
    for one in old["per_class"]:
        del one["specificity"], one["npv"], one["auc"], one["roc"]
    read = Metrics.model_validate(old)
    assert (read.ece, read.per_class[0].auc, read.calibration.bins[0].observed) == (Score(), Score(), Score())
    assert read.decision_curve
    assert read.decision_curve.low == ()


def _width(score: Score) -> float:
    return _below(score) + _above(score)


def _below(score: Score) -> float:
    return float(score.value or 0) - float(score.low or 0)


def _above(score: Score) -> float:
    return float(score.high or 0) - float(score.value or 0)

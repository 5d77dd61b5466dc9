"""What a policy leaves undecided, and that sets hold the truth as often as was promised."""

import numpy as np
import pytest

from ml import abstention
from ml.abstention import Policy


def drawn(n: int, sureness: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Truths of three classes, and probabilities that are right by themselves where `sureness` is 1."""
    random = np.random.default_rng(seed)
    logits_NK = random.normal(0, 2, (n, 3))
    fair_NK = np.exp(logits_NK) / np.exp(logits_NK).sum(axis=1, keepdims=True)
    truth_N = np.array([random.choice(3, p=row) for row in fair_NK], np.int64)
    sure_NK = np.exp(logits_NK * sureness)
    return truth_N, (sure_NK / sure_NK.sum(axis=1, keepdims=True)).astype(np.float32)


def test_decisions_of_calibrated_probability_are_as_right_as_the_level_says_though_the_network_is_too_sure() -> None:
    policy = abstention.fit("probability", 0.8, *drawn(4000, 3.0, 0))
    truth_N, probabilities_NK = drawn(4000, 3.0, 1)
    found = abstention.outcome(policy, truth_N, probabilities_NK, probabilities_NK.argmax(axis=1))
    assert policy.temperature == pytest.approx(3, rel=0.1)
    assert found.accuracy.value > 0.8
    assert 0 < found.share.value < 1
    naive_N = probabilities_NK.max(axis=1) >= 0.8
    assert found.share.value < naive_N.mean()


def test_conformal_sets_hold_the_truth_as_promised_and_only_one_class_is_a_decision() -> None:
    policy = abstention.fit("conformal", 0.9, *drawn(2000, 1.0, 0))
    truth_N, probabilities_NK = drawn(4000, 1.0, 1)
    is_in_NK, decided_N = policy.sets(probabilities_NK), probabilities_NK.argmax(axis=1)
    assert is_in_NK[np.arange(4000), truth_N].mean() == pytest.approx(0.9, abs=0.015)
    assert np.array_equal(policy.abstains(probabilities_NK, decided_N), is_in_NK.sum(axis=1) != 1)


def test_a_set_of_another_class_than_the_one_decided_for_is_no_decision() -> None:
    policy = Policy(kind="conformal", level=0.9, threshold=0.6, n=100)
    probabilities_NK = np.array([[0.7, 0.3], [0.3, 0.7], [0.5, 0.5]])
    assert policy.abstains(probabilities_NK, np.array([1, 1, 1])).tolist() == [True, False, True]


@pytest.mark.parametrize("kind", ["none", "probability", "conformal"])
def test_there_is_no_policy_without_images_or_where_none_is_asked_for(kind: str) -> None:
    n = 10 if kind == "none" else 0
    assert abstention.fit(kind, 0.9, np.zeros(n, np.int64), np.full((n, 2), 0.5)) is None

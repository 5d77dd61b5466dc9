"""Conformal sets: the promise, kept on images that did not fix the rule."""

import numpy as np
import pytest

from ml import conformal, metrics
from ml.conformal import ConformalRule


def images(random: np.random.Generator, n: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    truth_N = random.integers(0, classes, n)
    scores_NK = np.exp(random.normal(size=(n, classes)) + 1.5 * np.eye(classes)[truth_N])
    return truth_N, scores_NK / scores_NK.sum(axis=1, keepdims=True)


def test_the_threshold_is_an_order_statistic_of_the_probability_of_the_truth() -> None:
    probability_N = np.linspace(0.05, 0.95, 19)
    probabilities_NK = np.stack([probability_N, 1 - probability_N], axis=1)
    rules = conformal.fit(np.zeros(19, int), probabilities_NK)
    # By hand: floor(20 * 0.10) = 2nd lowest of 0.05, 0.10, ...; floor(20 * 0.05) = 1st.
    assert [(rule.alpha, rule.n) for rule in rules] == [(0.10, 19), (0.05, 19)]
    assert [rule.threshold for rule in rules] == pytest.approx([0.10, 0.05], abs=2e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_new_images_are_covered_as_promised(classes: int) -> None:
    random = np.random.default_rng(0)
    covered = np.zeros(2)
    for _ in range(300):
        rules = conformal.fit(*images(random, 100, classes))
        truth_N, probabilities_NK = images(random, 100, classes)
        covered += [conformal.sets(rule, probabilities_NK)[np.arange(100), truth_N].mean() for rule in rules]
    # On average over both draws: at least 1 - alpha, at most 1 / (n + 1) more (Vovk et al. 2005).
    assert covered / 300 == pytest.approx([0.905, 0.955], abs=0.006)


def test_too_few_images_promise_nothing_and_rule_nothing_out() -> None:
    rules = conformal.fit(np.zeros(8, int), np.full((8, 2), 0.5))
    assert [rule.threshold for rule in rules] == [0, 0]
    assert conformal.sets(rules[0], np.array([[1.0, 0.0]])).all()
    assert conformal.fit(np.zeros(0, int), np.zeros((0, 2))) == ()


def test_the_scores_tell_coverage_and_size() -> None:
    truth_N = np.array([0, 1, 1, 0])
    probabilities_NK = np.array([[0.9, 0.1], [0.5, 0.5], [0.8, 0.2], [0.6, 0.4]])
    rules = [ConformalRule(alpha=0.1, threshold=0.3, n=100), ConformalRule(alpha=0.05, threshold=0.7, n=100)]
    first, second = metrics.evaluate(truth_N, probabilities_NK, ("a", "b"), "b", rules=rules).conformal
    assert (first.coverage.value, first.mean_set_size, first.singletons, first.empty) == (0.75, 1.5, 0.5, 0)
    assert (second.coverage.value, second.mean_set_size, second.singletons, second.empty) == (0.25, 0.5, 0.5, 0.5)
    assert first.coverage.low < 0.75 < first.coverage.high  # type: ignore[operator]


def test_a_rule_on_no_images_has_empty_scores() -> None:
    rules = [ConformalRule(alpha=0.1, threshold=0.3, n=100)]
    (scores,) = metrics.evaluate(np.zeros(0, int), np.zeros((0, 2)), ("a", "b"), "b", rules=rules).conformal
    assert (scores.coverage.value, scores.mean_set_size, scores.singletons) == (None, None, None)

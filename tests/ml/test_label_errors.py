"""Doubtful labels by confident learning."""

import numpy as np
import pytest

from ml import label_errors

# Class 0: mean self-confidence (0.9 + 0.8 + 0.1) / 3 = 0.6; class 1: (0.8 + 0.7 + 0.45) / 3 = 0.65.
TRUTH_N = np.array([0, 0, 0, 1, 1, 1])
FIRST_N = np.array([0.9, 0.8, 0.1, 0.2, 0.3, 0.55])
PROBABILITIES_NK = np.stack([FIRST_N, 1 - FIRST_N], axis=1)


def test_a_threshold_is_the_mean_confidence_in_a_class_of_the_images_labelled_so() -> None:
    assert label_errors.thresholds(TRUTH_N, PROBABILITIES_NK) == pytest.approx([0.6, 0.65])


def test_an_image_is_suspected_where_another_class_reaches_its_threshold() -> None:
    """Image 2 is 0.9 sure of class 1. Image 5 leans to class 0 with 0.55, but that class asks for 0.6."""
    (doubt,) = label_errors.suspects(TRUTH_N, PROBABILITIES_NK)
    assert (doubt.index, doubt.given, doubt.suggested) == (2, 0, 1)
    assert doubt.margin == pytest.approx(-0.8)


def test_of_several_classes_that_reach_their_thresholds_the_most_probable_counts() -> None:
    """The rare class 2 has a threshold of 0.3; class 1 reaches its own as well, and is more probable."""
    truth_N = np.array([0, 1, 2, 0])
    probabilities_NK = np.array([[0.8, 0.1, 0.1], [0.5, 0.4, 0.1], [0.35, 0.35, 0.3], [0.15, 0.5, 0.35]])
    found = {doubt.index: doubt.suggested for doubt in label_errors.suspects(truth_N, probabilities_NK)}
    assert found[3] == 1
    # Image 1 reaches both 0.475 (class 0) and its own 0.4: the more probable class 0 is suggested.
    assert found[1] == 0
    assert 2 not in found


def planted(classes: int) -> tuple[np.ndarray, np.ndarray, set[int]]:
    """Labels of which every twentieth is wrong, the answers of a fair network, and which were planted."""
    random = np.random.default_rng(0)
    shown_N = random.integers(0, classes, 300)
    logits_NK = random.normal(size=(300, classes)) + 4 * np.eye(classes)[shown_N]
    probabilities_NK = np.exp(logits_NK) / np.exp(logits_NK).sum(axis=1, keepdims=True)
    is_wrong_N = np.arange(300) % 20 == 0
    return (shown_N + is_wrong_N) % classes, probabilities_NK, set(np.flatnonzero(is_wrong_N).tolist())


def test_planted_wrong_labels_come_first() -> None:
    given_N, probabilities_NK, wrong = planted(classes=3)
    found = label_errors.suspects(given_N, probabilities_NK)
    assert len(wrong & {doubt.index for doubt in found[:20]}) >= 13


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_suspects_and_their_order_are_those_of_cleanlab(classes: int) -> None:
    from cleanlab.filter import find_label_issues  # seconds to import

    given_N, probabilities_NK, _ = planted(classes)
    ranked = {"filter_by": "confident_learning", "return_indices_ranked_by": "normalized_margin", "n_jobs": 1}
    theirs = find_label_issues(given_N, probabilities_NK, **ranked)
    assert len(theirs) >= 10
    assert [doubt.index for doubt in label_errors.suspects(given_N, probabilities_NK)] == theirs.tolist()


@pytest.mark.parametrize("truth", [[], [0, 0]])
def test_without_images_of_a_class_nothing_is_suspected_to_be_it(truth: list[int]) -> None:
    assert label_errors.suspects(np.array(truth, int), np.full((len(truth), 2), 0.5)) == []

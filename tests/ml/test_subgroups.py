"""Scores of subgroups."""

from typing import Any

import numpy as np
import pytest

from ml import ranking, subgroups
from ml.intervals import Score, proportion
from ml.manifest import ImageRow


def image(number: int, **values: Any) -> ImageRow:
    facts = {"path": f"{number}.png", "label": "a", "split": "test", "sha256": "0" * 64, "width": 8, "height": 8}
    place = {"pack": 0, "member": "x", "offset": 0, "length": 1}
    return ImageRow(**{**facts, **place, **values})


def test_a_column_is_offered_where_it_tells_the_images_apart_by_at_most_20_values() -> None:
    rows = [
        image(n, metadata={"view": "CC" if n % 2 else "MLO", "id": str(n), "site": "one"}, group=f"p{n // 3}")
        for n in range(21)
    ]
    assert set(subgroups.columns(rows)) == {"metadata:view"}
    assert set(subgroups.columns([image(30, split="train", metadata={"view": " "}), *rows])) == {
        "metadata:view", "metadata:site", "split", "group_size",
    }  # fmt: skip


def test_groups_are_told_apart_by_their_size_in_steps_that_double() -> None:
    groups = ["a"] + ["b"] * 2 + ["c"] * 3 + ["d"] * 4 + ["e"] * 9 + [None]
    found = subgroups.columns([image(n, group=group) for n, group in enumerate(groups)])["group_size"]
    assert found == ["1"] + ["2"] * 2 + ["3–4"] * 7 + ["9–16"] * 9 + ["(none)"]


def test_each_value_has_the_scores_of_its_images_alone() -> None:
    random = np.random.default_rng(0)
    truth_N, positive_N = random.integers(0, 2, 80), random.random(80)
    probabilities_NK = np.stack([1 - positive_N, positive_N], axis=1)
    decided_N = (positive_N >= 0.5).astype(int)
    values = ["CC"] * 50 + ["MLO"] * 30
    first, second = subgroups.scores(values, truth_N, decided_N, probabilities_NK, 1)
    assert (first.value, first.n, second.value, second.n) == ("CC", 50, "MLO", 30)
    assert second.accuracy == proportion(int((truth_N == decided_N)[50:].sum()), 30)
    assert first.auc == ranking.auc(truth_N[:50], probabilities_NK[:50], [1])
    found, positives = int((truth_N & decided_N)[:50].sum()), int(truth_N[:50].sum())
    assert first.sensitivity == proportion(found, positives)


def test_what_a_subgroup_does_not_define_is_empty() -> None:
    probabilities_NK = np.array([[0.2, 0.8], [0.6, 0.4]])
    (only,) = subgroups.scores(["x", "x"], np.array([1, 1]), np.array([1, 0]), probabilities_NK, 1)
    assert (only.specificity, only.auc, only.sensitivity.value) == (Score(), Score(), 0.5)
    (many,) = subgroups.scores(["x", "x"], np.array([1, 0]), np.array([1, 0]), probabilities_NK, None)
    assert (many.sensitivity, many.auc.value, many.accuracy.value) == (Score(), 1.0, 1.0)


@pytest.mark.parametrize(
    ("values", "order"),
    [(["10", "9", "(none)", "x"], ["9", "10", "x", "(none)"]), (["17–32", "1", "9–16"], ["1", "9–16", "17–32"])],
)
def test_numbers_come_in_their_order_and_what_has_no_value_last(values: list[str], order: list[str]) -> None:
    nothing_N = np.zeros(len(values), int)
    found = subgroups.scores(values, nothing_N, nothing_N, np.ones((len(values), 1)), None)
    assert [subgroup.value for subgroup in found] == order

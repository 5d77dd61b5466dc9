"""Scores of subgroups."""

import itertools
from typing import Any

import numpy as np
import pytest

from ml import metrics, ranking, subgroups
from ml.intervals import Score, proportion
from ml.manifest import ImageRow


def image(number: int, **values: Any) -> ImageRow:
    facts = {"path": f"{number}.png", "label": "a", "split": "test", "sha256": "0" * 64, "width": 8, "height": 8}
    place = {"pack": 0, "member": "x", "offset": 0, "length": 1}
    return ImageRow(**{**facts, **place, **values})


def test_a_column_is_offered_where_it_tells_the_images_apart_by_at_most_20_values() -> None:
    rows = [
        image(n, metadata={"view": "CC" if n % 2 else "MLO", "id": f"x{n}", "site": "one"}, group=f"p{n // 3}")
        for n in range(21)
    ]
    assert set(subgroups.columns(rows)) == {"metadata:view"}
    assert set(subgroups.columns([image(30, split="train", metadata={"view": " "}), *rows])) == {
        "metadata:view", "metadata:site", "split", "group_size",
    }  # fmt: skip


def test_many_numbers_become_quartiles_and_what_is_missing_a_row_of_its_own() -> None:
    ages = [str(age) for age in range(40, 80)] + ["", "NA", " ? "]
    found = subgroups.columns([image(n, metadata={"age": age}) for n, age in enumerate(ages)])["metadata:age"]
    expected = ["40–49"] * 10 + ["50–59"] * 10 + ["60–69"] * 10 + ["70–79"] * 10 + [subgroups.NO_VALUE] * 3
    assert found == expected


def test_few_numbers_stay_as_they_are() -> None:
    rows = [image(n, metadata={"density": str(n % 4)}) for n in range(40)]
    assert set(subgroups.columns(rows)["metadata:density"]) == {"0", "1", "2", "3"}


def test_a_column_that_tells_nothing_is_named_with_the_reason() -> None:
    rows = [image(n, metadata={"id": f"x{n}", "age": f"{n}" if n else ">90", "site": "one"}) for n in range(30)]
    found = subgroups.left_out(rows)
    assert set(found) == {"metadata:id", "metadata:age", "metadata:site"}
    assert "30 different values, at most 20" in found["metadata:id"]
    assert "not all are numbers: '>90'" in found["metadata:age"]
    assert found["metadata:site"] == "All images agree in it: 'one'."
    assert subgroups.left_out([image(n, metadata={"age": f"{n}"}) for n in range(30)]) == {}
    same = [image(n, metadata={"one": "1." + "0" * n}) for n in range(30)]
    assert "All images agree" in subgroups.left_out(same)["metadata:one"]


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


def test_the_intervals_of_a_subgroup_are_those_that_its_images_would_have_as_a_whole() -> None:
    random = np.random.default_rng(1)
    patient_N = np.repeat(np.arange(60), 4)
    truth_N = (patient_N % 3 == 0).astype(int)
    positive_N = 1 / (
        1 + np.exp(-(2 * truth_N - 1 + np.repeat(random.normal(size=60), 4) + random.normal(size=240) / 2))
    )
    probabilities_NK = np.stack([1 - positive_N, positive_N], axis=1)
    decided_N = (positive_N >= 0.5).astype(int)
    groups, values = [f"p{number}" for number in patient_N], ["A"] * 120 + ["B"] * 120
    first, _ = subgroups.scores(values, truth_N, decided_N, probabilities_NK, 1, groups)
    alone = metrics.evaluate(truth_N[:120], probabilities_NK[:120], ("a", "b"), "b", groups=groups[:120])
    assert first.groups == 30
    for name in ("accuracy", "sensitivity", "specificity", "auc"):
        assert getattr(first, name) == getattr(alone, name), name
    independent, _ = subgroups.scores(values, truth_N, decided_N, probabilities_NK, 1)
    assert independent.groups is None
    wide, narrow = first.accuracy, independent.accuracy
    assert wide.value == narrow.value
    assert wide.high - wide.low > 1.2 * (narrow.high - narrow.low)  # type: ignore[operator]


def test_what_a_subgroup_does_not_define_is_empty() -> None:
    probabilities_NK = np.array([[0.2, 0.8], [0.6, 0.4]])
    (only,) = subgroups.scores(["x", "x"], np.array([1, 1]), np.array([1, 0]), probabilities_NK, 1)
    assert (only.specificity, only.auc, only.sensitivity.value) == (Score(), Score(), 0.5)
    (many,) = subgroups.scores(["x", "x"], np.array([1, 0]), np.array([1, 0]), probabilities_NK, None)
    assert (many.sensitivity, many.auc.value, many.accuracy.value) == (Score(), 1.0, 1.0)


@pytest.mark.parametrize(
    ("values", "order"),
    [
        (["10", "9", "(none)", "x"], ["9", "10", "x", "(none)"]),
        (["17–32", "1", "9–16"], ["1", "9–16", "17–32"]),
        (["2", "nan", "x", "1", "a"], ["1", "2", "a", "nan", "x"]),
        (["b", "nan", "-inf", "3"], ["3", "-inf", "b", "nan"]),
    ],
)
def test_numbers_come_in_their_order_and_what_has_no_value_last(values: list[str], order: list[str]) -> None:
    nothing_N = np.zeros(len(values), int)
    found = subgroups.scores(values, nothing_N, nothing_N, np.ones((len(values), 1)), None)
    assert [subgroup.value for subgroup in found] == order
    for turned in itertools.permutations(values):  # whatever order a set has
        assert sorted(turned, key=subgroups._in_order) == order

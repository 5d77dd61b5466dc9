from collections import Counter

import pytest

from ml.config import Split
from ml.errors import BadConfig
from ml.ingest_options import SplitShares
from ml.splits import assign, complete, divided, divided_by_chance, folds, repaired, units

SHARES = SplitShares()


def keys(count: int) -> list[str]:
    return [f"image {number}" for number in range(count)]


def test_each_label_is_divided_by_the_shares() -> None:
    labels = ["a"] * 100 + ["b"] * 20
    splits = assign(labels, [None] * 120, keys(120), SHARES, seed=0)
    assert Counter(zip(labels, splits, strict=True)) == {
        ("a", "train"): 70,
        ("a", "validation"): 15,
        ("a", "test"): 15,
        ("b", "train"): 14,
        ("b", "validation"): 3,
        ("b", "test"): 3,
    }


@pytest.mark.parametrize("count", [3, 4, 5, 6, 7, 10])
def test_a_small_class_is_in_every_split(count: int) -> None:
    splits = assign(["a"] * count, [None] * count, keys(count), SHARES, seed=0)
    assert set(splits) == {"train", "validation", "test"}
    assert Counter(splits).most_common(1)[0][0] == "train" or count == 3


def test_the_order_of_the_images_changes_nothing() -> None:
    labels, names = ["a", "b"] * 30, keys(60)
    groups = [f"patient {number // 5}" if number < 40 else None for number in range(60)]
    straight = dict(zip(names, assign(labels, groups, names, SHARES, seed=3), strict=True))
    turned = assign(labels[::-1], groups[::-1], names[::-1], SHARES, seed=3)
    assert dict(zip(names[::-1], turned, strict=True)) == straight


def test_the_seed_changes_who_goes_where() -> None:
    splits = [assign(["a"] * 50, [None] * 50, keys(50), SHARES, seed) for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]


def test_a_group_is_never_divided() -> None:
    groups = [f"patient {number % 13}" for number in range(200)]
    labels = ["a" if number % 3 else "b" for number in range(200)]
    splits = assign(labels, groups, keys(200), SHARES, seed=0)
    assert (
        max(
            Counter(
                {group: len({s for g, s in zip(groups, splits, strict=True) if g == group}) for group in groups}
            ).values()
        )
        == 1
    )
    assert set(splits) == {"train", "validation", "test"}


@pytest.mark.parametrize("sizes", [[6, 6, 6], [50, 1, 1], [1, 1, 40, 1], [6] * 5])
def test_every_split_gets_one_of_three_groups_whatever_their_size(sizes: list[int]) -> None:
    groups = [f"patient {number}" for number, size in enumerate(sizes) for _ in range(size)]
    splits = assign(["a"] * len(groups), groups, keys(len(groups)), SHARES, seed=0)
    assert set(splits) == {"train", "validation", "test"}


def test_given_splits_are_kept_and_validation_is_cut_out_of_training() -> None:
    given = ["train"] * 80 + ["test"] * 20
    splits = complete(given, ["a"] * 100, [None] * 100, keys(100), SHARES, seed=0)
    assert splits[80:] == ["test"] * 20
    assert Counter(splits[:80]) == {"train": 66, "validation": 14}  # 0.15 / 0.85 of 80


@pytest.mark.parametrize("given", ["train", None])
def test_images_without_a_second_split_are_divided_anew(given: str | None) -> None:
    splits = complete([given] * 100, ["a"] * 100, [None] * 100, keys(100), SHARES, seed=0)
    assert Counter(splits) == {"train": 70, "validation": 15, "test": 15}


def test_complete_splits_stay_as_they_are() -> None:
    given = ["train", "validation", "test"] * 5
    assert complete(given, ["a"] * 15, [None] * 15, keys(15), SHARES, seed=0) == given


def test_patients_and_copies_are_joined_by_chains() -> None:
    groups = ["p1", "p1", "p2", "p3", None, None, None]
    clusters = [None, 7, 7, 8, 8, None, None]
    joined = units(groups, clusters, keys(7))
    assert joined == ["image 0", "image 0", "image 0", "image 3", "image 3", None, None]


def test_a_group_and_a_cluster_of_the_same_name_are_two_things() -> None:
    assert units(["1", "1", None, None], [None, None, 1, 1], keys(4)) == ["image 0", "image 0", "image 2", "image 2"]


def test_units_do_not_depend_on_the_order() -> None:
    names = keys(30)
    groups = [f"p{number % 7}" if number % 3 else None for number in range(30)]
    clusters = [number // 4 if number % 2 else None for number in range(30)]
    straight = dict(zip(names, units(groups, clusters, names), strict=True))
    turned = units(groups[::-1], clusters[::-1], names[::-1])
    assert dict(zip(names[::-1], turned, strict=True)) == straight


def test_folds_keep_units_together_and_spread_each_label() -> None:
    labels = ["a"] * 60 + ["b"] * 30
    joined = [f"unit {number // 3}" for number in range(90)]
    chosen = folds(labels, joined, keys(90), k=5, seed=1)
    assert Counter(zip(labels, chosen, strict=True)) == {
        (label, fold): count for label, count in (("a", 12), ("b", 6)) for fold in range(5)
    }
    assert len(set(zip(joined, chosen, strict=True))) == 30


@pytest.mark.parametrize("k", [1, 4])
def test_folds_that_would_be_empty_are_refused(k: int) -> None:
    with pytest.raises(BadConfig, match=f"{k} folds"):
        folds(["a"] * 4, ["unit", "unit", None, None], keys(4), k, seed=0)


def test_a_divided_unit_is_seen_and_put_together_where_most_of_it_lies() -> None:
    given: list[Split] = ["train", "train", "test", "train", "test", "validation", "train", "test"]
    joined = ["a", "a", "a", "b", "b", "c", "c", None]
    assert divided(given, joined) == [True] * 7 + [False]
    mended = repaired(given, joined)
    assert mended == ["train", "train", "train", "test", "test", "validation", "validation", "test"]
    assert not any(divided(mended, joined))


def test_the_leaks_of_a_random_split_are_the_expected_number() -> None:
    shares = SplitShares(train=0.5, validation=0.25, test=0.25)
    assert divided_by_chance([None, "alone"], shares) == 0
    assert divided_by_chance(["a", "a"], shares) == pytest.approx(2 * (1 - 0.25 - 0.0625 - 0.0625))
    assert divided_by_chance(["a"] * 3 + [None], shares) == pytest.approx(3 * (1 - 0.125 - 2 / 64))

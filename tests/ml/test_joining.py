"""Joining: ties in any order give the same sets."""

from itertools import permutations

from ml.joining import joined


def test_chains_are_joined_under_their_smallest_number() -> None:
    for pairs in permutations([(5, 3), (1, 5), (2, 4), (2, 2)]):
        assert list(joined(7, pairs)) == [0, 1, 2, 1, 2, 1, 6]


def test_without_ties_each_stands_alone() -> None:
    assert list(joined(3, [])) == [0, 1, 2]

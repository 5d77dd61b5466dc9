"""Joining: which images belong together where some of them are tied in pairs."""

from array import array
from collections.abc import Iterable, Sequence


def joined(count: int, pairs: Iterable[tuple[int, int]]) -> Sequence[int]:
    """For each number below `count` the smallest that pairs, or chains of them, tie it to (union-find)."""
    parent = array("q", range(count))

    def find(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for pair in pairs:
        low, high = sorted(map(find, pair))
        parent[high] = low
    return array("q", map(find, range(count)))

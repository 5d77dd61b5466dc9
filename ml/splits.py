"""Splits: which images train, which choose, which judge. Here alone leakage is decided.

A group (a patient, or exact copies of one image) is never divided. The order of the input changes nothing.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

from ml.config import Split, SplitShares

_ALL: tuple[Split, ...] = get_args(Split)


def assign(
    labels: Sequence[str], groups: Sequence[str | None], keys: Sequence[str], shares: SplitShares, seed: int
) -> list[Split]:
    """A split for each image, each label divided by the shares as well as its groups allow.

    `keys` name the images, each once. A label of three images or groups has at least one in each split.
    """
    return _assign(labels, groups, keys, _weights(shares, _ALL), seed)


def complete(
    given: Sequence[Split | None],
    labels: Sequence[str],
    groups: Sequence[str | None],
    keys: Sequence[str],
    shares: SplitShares,
    seed: int,
) -> list[Split]:
    """The given splits; a split that the archive lacks is cut out of its training images.

    An archive with training images only, or without any splits, is divided anew.
    """
    named = set(given) - {None, "train"}
    missing: list[Split] = [split for split in _ALL if split not in named]
    result: list[Split] = [split or "train" for split in given]
    cut = [index for index, split in enumerate(result) if split == "train"]
    chosen = _assign(
        [labels[index] for index in cut],
        [groups[index] for index in cut],
        [keys[index] for index in cut],
        _weights(shares, missing),
        seed,
    )
    for index, split in zip(cut, chosen, strict=True):
        result[index] = split
    return result


def merged(groups: Sequence[str | None], hashes: Sequence[str]) -> list[str | None]:
    """Groups in which images of one patient and images of the same pixels are together; None for single images."""
    parent: dict[str, str] = {}

    def find(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for group, pixels in zip(groups, hashes, strict=True):
        if group is not None:
            ends = sorted((find(f"group {group}"), find(f"pixels {pixels}")))
            parent[ends[1]] = ends[0]
    copies = Counter(hashes)
    return [
        find(f"pixels {pixels}") if group is not None or copies[pixels] > 1 else None
        for group, pixels in zip(groups, hashes, strict=True)
    ]


def _assign(
    labels: Sequence[str],
    groups: Sequence[str | None],
    keys: Sequence[str],
    weights: Mapping[Split, float],
    seed: int,
) -> list[Split]:
    units: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, (group, key) in enumerate(zip(groups, keys, strict=True)):
        units[("image", key) if group is None else ("group", group)].append(index)
    strata: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for unit, indices in units.items():
        strata[_most_common(labels[index] for index in indices)].append(unit)

    result: list[Split] = ["train"] * len(labels)
    for members in strata.values():
        ordered = sorted(members, key=lambda unit: (-len(units[unit]), _rank(seed, *unit)))
        for unit, split in zip(ordered, _fill([len(units[unit]) for unit in ordered], weights), strict=True):
            for index in units[unit]:
                result[index] = split
    return result


def _fill(sizes: Sequence[int], weights: Mapping[Split, float]) -> list[Split]:
    """A split for each unit, the largest first: where most is missing, and no split stays empty without need."""
    missing = _targets(sum(sizes), weights)
    empty = list(missing)
    result = []
    for done, size in enumerate(sizes):
        eligible = empty if len(sizes) - done <= len(empty) else list(missing)
        split = max(eligible, key=lambda split: missing[split])
        missing[split] -= size
        if split in empty:
            empty.remove(split)
        result.append(split)
    return result


def _targets(count: int, weights: Mapping[Split, float]) -> dict[Split, int]:
    """Whole numbers that add up to `count` (largest remainder), each at least 1 where `count` allows."""
    exact = {split: count * weight for split, weight in weights.items()}
    result = {split: int(value) for split, value in exact.items()}
    by_remainder = sorted(exact, key=lambda split: result[split] - exact[split])
    for split in by_remainder[: count - sum(result.values())]:
        result[split] += 1
    for split in result:
        if result[split] == 0 and count >= len(result):
            result[max(result, key=lambda other: result[other])] -= 1
            result[split] = 1
    return result


def _weights(shares: SplitShares, splits: Iterable[Split]) -> dict[Split, float]:
    """The shares of these splits, scaled so that they add up to 1."""
    chosen: dict[Split, float] = {split: getattr(shares, split) for split in splits}
    total = sum(chosen.values())
    return {split: share / total for split, share in chosen.items()}


def _most_common(labels: Iterable[str]) -> str:
    counts = Counter(labels)
    return min(counts, key=lambda label: (-counts[label], label))


def _rank(seed: int, kind: str, name: str) -> str:
    return hashlib.sha256(f"{seed}\0{kind}\0{name}".encode()).hexdigest()

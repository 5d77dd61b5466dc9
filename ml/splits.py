"""Splits: which images train, which choose, which judge. Here alone leakage is decided.

A unit (the images of a patient, and copies or near copies of one another) is never divided. The order of the input
changes nothing.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TypeVar, get_args

from ml.config import Split
from ml.errors import BadConfig
from ml.ingest_options import SplitShares
from ml.joining import joined

Side = TypeVar("Side", bound=Hashable)
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


def units(groups: Sequence[str | None], clusters: Sequence[int | None], keys: Sequence[str]) -> list[str | None]:
    """What must stay together: images joined by a group, by a cluster of copies, or by a chain of both.

    A unit is named by its smallest key, so the order of the images changes nothing; None for an image by itself.
    """
    roots = joined(len(keys), chain(_ties(groups), _ties(clusters)))
    sizes, names = Counter(roots), dict[int, str]()
    for root, key in zip(roots, keys, strict=True):
        if sizes[root] > 1:
            names[root] = min(names.get(root, key), key)
    return [names.get(root) for root in roots]


def _ties(names: Iterable[Hashable | None]) -> Iterator[tuple[int, int]]:
    """The number of each image with that of the first image of the same name."""
    first: dict[Hashable, int] = {}
    for number, name in enumerate(names):
        if name is not None:
            yield first.setdefault(name, number), number


def folds(labels: Sequence[str], units: Sequence[str | None], keys: Sequence[str], k: int, seed: int) -> list[int]:
    """A fold from 0 to k - 1 for each image; each label spread as evenly as its units allow. Raises BadConfig."""
    alone = sum(unit is None for unit in units)
    if not 2 <= k <= len(set(units) - {None}) + alone:
        raise BadConfig(f"{k} folds cannot be made; there must be 2 or more, and a group or single image for each.")
    return _assign(labels, units, keys, dict.fromkeys(range(k), 1 / k), seed)


def divided(splits: Sequence[Split], units: Sequence[str | None]) -> list[bool]:
    """Whether the image's unit lies in more than one split: a leak."""
    sides: dict[str | None, set[Split]] = defaultdict(set)
    for split, unit in zip(splits, units, strict=True):
        sides[unit].add(split)
    return [unit is not None and len(sides[unit]) > 1 for unit in units]


def repaired(splits: Sequence[Split], units: Sequence[str | None]) -> list[Split]:
    """The splits with every divided unit put whole where most of its images lie.

    Of two equals the one that judges wins: test before validation before training. Other images stay.
    """
    counts: dict[str | None, Counter[Split]] = defaultdict(Counter)
    for split, unit in zip(splits, units, strict=True):
        counts[unit][split] += 1
    home = {unit: max(found, key=lambda split: (found[split], _ALL.index(split))) for unit, found in counts.items()}
    return [split if unit is None else home[unit] for split, unit in zip(splits, units, strict=True)]


def divided_by_chance(units: Sequence[str | None], shares: SplitShares) -> float:
    """The number of images whose unit a random split by image would put on several sides, as an expectation.

    A unit of n images stays whole with the probability that all n draw the same split: the sum of share ** n.
    """
    sizes = Counter(unit for unit in units if unit is not None)
    return sum(n * (1 - sum(getattr(shares, split) ** n for split in _ALL)) for n in sizes.values())


def _assign(
    labels: Sequence[str],
    groups: Sequence[str | None],
    keys: Sequence[str],
    weights: Mapping[Side, float],
    seed: int,
) -> list[Side]:
    members: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        if group is not None:
            members[group].append(index)
    strata: dict[str, list[int | str]] = defaultdict(list)  # units: the number of an image alone, or a group
    for index, group in enumerate(groups):
        if group is None:
            strata[labels[index]].append(index)
        elif members[group][0] == index:
            strata[_most_common(labels[member] for member in members[group])].append(group)

    def indices(unit: int | str) -> Sequence[int]:
        return members[unit] if isinstance(unit, str) else (unit,)

    def order(unit: int | str) -> tuple[int, str]:
        rank = _rank(seed, "group", unit) if isinstance(unit, str) else _rank(seed, "image", keys[unit])
        return -len(indices(unit)), rank

    result = [next(iter(weights))] * len(labels)
    for units in strata.values():
        units.sort(key=order)
        for unit, side in zip(units, _fill([len(indices(unit)) for unit in units], weights), strict=True):
            for index in indices(unit):
                result[index] = side
    return result


def _fill(sizes: Sequence[int], weights: Mapping[Side, float]) -> list[Side]:
    """A side for each unit, the largest first: where most is missing, and no side stays empty without need."""
    missing = _targets(sum(sizes), weights)
    empty = list(missing)
    result = []
    for done, size in enumerate(sizes):
        eligible = empty if len(sizes) - done <= len(empty) else list(missing)
        side = max(eligible, key=lambda side: missing[side])
        missing[side] -= size
        if side in empty:
            empty.remove(side)
        result.append(side)
    return result


def _targets(count: int, weights: Mapping[Side, float]) -> dict[Side, int]:
    """Whole numbers that add up to `count` (largest remainder), each at least 1 where `count` allows."""
    exact = {side: count * weight for side, weight in weights.items()}
    result = {side: int(value) for side, value in exact.items()}
    by_remainder = sorted(exact, key=lambda side: result[side] - exact[side])
    for side in by_remainder[: count - sum(result.values())]:
        result[side] += 1
    for side in result:
        if result[side] == 0 and count >= len(result):
            result[max(result, key=lambda other: result[other])] -= 1
            result[side] = 1
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

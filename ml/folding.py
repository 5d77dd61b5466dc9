"""One fold of a data set as training sees it: a view of the manifest; nothing is stored anew.

Of k folds, cut by `ml.splits.folds`, fold i judges, the next one chooses, the others train.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from ml import splits
from ml.config import Frozen, Split
from ml.errors import BadConfig
from ml.manifest import Manifest

LEAST_FOLDS = 3


class Member(Frozen):
    """Which training of a study this is; of `folds`, number i judges on fold i of k."""

    study: int
    kind: Literal["folds", "seeds"]
    number: int  # from 1 to k
    k: int
    seed: int  # of the cut into folds


def as_seen(manifest: Manifest, member: Member | None) -> Manifest:
    """The manifest with the splits of this member: its own, unless the study is one of folds. Raises BadConfig."""
    if member is None or member.kind == "seeds":
        return manifest
    folds = of_images(manifest, member.k, member.seed)
    rows = tuple(
        row if fold is None else replace(row, split=_split(fold, member.number - 1, member.k))
        for row, fold in zip(manifest.rows, folds, strict=True)
    )
    return manifest.model_copy(update={"rows": rows})


def of_images(manifest: Manifest, k: int, seed: int) -> list[int | None]:
    """The fold of each image, from 0 to k - 1; None in quarantine. Images of one group, or near copies, share one.

    Raises BadConfig where fewer than three folds are asked for, and where a fold would lack a class.
    """
    if k < LEAST_FOLDS:
        raise BadConfig(f"{k} folds leave none to train on: one judges and one chooses. Take {LEAST_FOLDS} or more.")
    rows = manifest.rows
    units = splits.units([row.group for row in rows], [row.cluster for row in rows], [row.path for row in rows])
    used = [number for number, row in enumerate(rows) if not row.quarantined]
    labels, of_unit = [rows[number].label for number in used], [units[number] for number in used]
    keys = [rows[number].path for number in used]
    _check_units(manifest.classes, labels, of_unit, keys, k)
    found = splits.folds(labels, of_unit, keys, k, seed)
    _check_classes(manifest.classes, labels, found, k)
    folds: list[int | None] = [None] * len(rows)
    for number, fold in zip(used, found, strict=True):
        folds[number] = fold
    return folds


def _split(fold: int, judging: int, k: int) -> Split:
    if fold == judging:
        return "test"
    return "validation" if fold == (judging + 1) % k else "train"


def _check_units(
    classes: Sequence[str], labels: Sequence[str], units: Sequence[str | None], keys: Sequence[str], k: int
) -> None:
    of_class: dict[str, set[str]] = defaultdict(set)
    for label, unit, key in zip(labels, units, keys, strict=True):
        of_class[label].add(key if unit is None else unit)
    scarcest = min(classes, key=lambda label: len(of_class[label]))
    count = len(of_class[scarcest])
    if count < k:
        advice = f"Take at most {count} folds" if count >= LEAST_FOLDS else "Add images of it"
        units = "group or single image" if count == 1 else "groups or single images"
        raise BadConfig(
            f"Class '{scarcest}' has {count} {units}, too few for {k} folds: each fold needs one. "
            f"{advice}, or repeat with other seeds."
        )


def _check_classes(classes: Sequence[str], labels: Sequence[str], folds: Sequence[int], k: int) -> None:
    """Groups of several classes may leave a fold without one of them."""
    found = set(zip(labels, folds, strict=True))
    for label in classes:
        if any((label, fold) not in found for fold in range(k)):
            raise BadConfig(
                f"The groups that hold class '{label}' cannot be spread over {k} folds. "
                "Take fewer folds, or repeat with other seeds."
            )

"""Revisions: the next version of a data set, made from the one before and a change. Nothing is edited in place."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from ml import quality, splits
from ml.config import Frozen, Split
from ml.errors import BadConfig
from ml.ingest import IngestReport, reported
from ml.ingest_options import ArchiveLimits, SplitShares
from ml.manifest import ImageRow, Manifest, propose_positive_class
from ml.pack import PackReader, PackWriter

_SHARES, _LIMITS = SplitShares(), ArchiveLimits()


class Change(Frozen):
    """What a person wants different. Paths and groups are those of the manifest."""

    excluded: list[str] = Field(default_factory=list, max_length=200_000, title="Images taken out")
    removed_groups: list[str] = Field(default_factory=list, max_length=10_000, title="Groups (patients) taken out")
    kept: list[str] = Field(
        default_factory=list, max_length=200_000, title="Images released from quarantine under their own label"
    )
    relabelled: dict[str, str] = Field(
        default_factory=dict, max_length=200_000, title="Images with a new label, which also releases them"
    )
    shares: SplitShares | None = Field(None, title="New split with these shares")
    seed: int = Field(0, ge=0, le=2**31 - 1, title="Seed of the new split")
    repair: bool = Field(False, title="Put what the split divides (groups, copies) together")


class Difference(Frozen):
    """How a version differs from its parent, in images."""

    removed: int
    relabelled: int
    released: int
    moved: int
    groups_removed: list[str]


@dataclass(frozen=True)
class Revised:
    """The next version. A pack is a new file, or the number of a pack of the version before that stays as it is."""

    manifest: Manifest
    packs: list[Path | int]
    difference: Difference
    report: IngestReport


def revise(
    manifest: Manifest,
    packs: PackReader,
    change: Change,
    folder: Path,
    shares: SplitShares = _SHARES,
    report: Callable[[int], None] = lambda done: None,
) -> Revised:
    """The version after the change; its new packs are written into the empty `folder`.

    What was taken out is in no pack any more: a pack that held it is written anew without it. Rows keep their order.
    `shares` are those that the version before was split by; they serve the figure of the random split only.
    `report` hears how many images have their place, and may raise to stop. Raises BadConfig where the change does not
    fit the data set, changes nothing, or leaves nothing to learn from; BadArtifact where a pack is damaged.
    """
    removed = _removed(manifest, change)
    rows = [row for row in manifest.rows if row.path not in removed]
    labels = [change.relabelled.get(row.path, row.label) for row in rows]
    _check_classes(labels)
    classes = tuple(sorted(set(labels)))
    asked = manifest.positive_class
    revised = Manifest(
        classes=classes,
        positive_class=asked if asked in classes else propose_positive_class(classes),
        rows=_changed(rows, labels, _released_before(manifest), change),
    )
    _check_difference(manifest, revised)
    touched = {row.pack for row in manifest.rows if row.path in removed}
    placed, places = _repacked(revised.rows, touched, packs, folder, report)
    revised = revised.model_copy(update={"rows": placed})
    difference = _difference(manifest, revised)
    return Revised(revised, places, difference, reported(revised.outline(), [], [], change.shares or shares))


def _removed(manifest: Manifest, change: Change) -> set[str]:
    """The paths that are taken out. Raises BadConfig where the change contradicts the data set or itself."""
    groups = {row.group for row in manifest.rows}
    decided = [*change.kept, *change.relabelled]
    _check_known("image", [*change.excluded, *decided], {row.path for row in manifest.rows})
    _check_known("group", change.removed_groups, groups)
    _check_known("class", change.relabelled.values(), set(manifest.classes))
    gone = set(change.removed_groups)
    removed = set(change.excluded) | {row.path for row in manifest.rows if row.group in gone}
    for path in decided:
        if path in removed:
            raise BadConfig(f"The image '{path}' is both taken out and given a label. Choose one of them.")
    for path in change.kept:
        if path in change.relabelled:
            raise BadConfig(f"The image '{path}' is both kept under its own label and relabelled. Choose one of them.")
    return removed


def _check_known(kind: str, names: Iterable[str], known: set[str] | set[str | None]) -> None:
    for name in names:
        if name not in known:
            raise BadConfig(f"This version of the data set has no {kind} '{name}'. Choose among what it holds.")


def _check_classes(labels: Sequence[str]) -> None:
    """Refuses what cannot be trained on; images in quarantine count, as in an ingest. Raises BadConfig."""
    counts = Counter(labels)
    if len(counts) < 2:
        left = f"images of one class only, '{min(counts)}'" if counts else "no images"
        raise BadConfig(f"The change leaves {left}; at least 2 classes are needed. Take fewer images out.")
    label, fewest = min(counts.items(), key=lambda item: (item[1], item[0]))
    needed = _LIMITS.min_images_per_class
    if fewest < needed:
        left = f"{fewest} image{'s' if fewest > 1 else ''}"
        raise BadConfig(f"The change leaves {left} of class '{label}'; at least {needed} are needed. Leave more of it.")


def _changed(
    rows: Sequence[ImageRow], labels: Sequence[str], released: set[str], change: Change
) -> tuple[ImageRow, ...]:
    """The remaining rows with new labels, splits, quarantine and findings, still in their old places.

    Copies stay one cluster where the image that linked them is gone: they still show one picture. What an image shows
    beside the others (its size, its brightness) stays as found when it came in.
    """
    clusters = _clusters(rows)
    chosen = _split(rows, labels, clusters, change)
    released = released | set(change.kept) | set(change.relabelled)
    contradictory = quality.quarantined(labels, clusters)
    waiting = [is_found and row.path not in released for is_found, row in zip(contradictory, rows, strict=True)]
    hashes, groups = [row.sha256 for row in rows], [row.group for row in rows]
    copies = quality.of_copies(labels, chosen, hashes, clusters, groups, waiting)
    facts = zip(rows, labels, chosen, clusters, waiting, copies, strict=True)
    return tuple(
        replace(
            row,
            label=label,
            split=split,
            cluster=cluster,
            quarantined=is_waiting,
            issues=[*(kind for kind in row.issues if kind not in quality.OF_COPIES), *of_copies],
        )
        for row, label, split, cluster, is_waiting, of_copies in facts
    )


def _released_before(manifest: Manifest) -> set[str]:
    """The paths that a person released in an earlier version: contradictory, yet not in quarantine."""
    rows = manifest.rows
    contradictory = quality.quarantined([row.label for row in rows], [row.cluster for row in rows])
    return {row.path for row, is_found in zip(rows, contradictory, strict=True) if is_found and not row.quarantined}


def _clusters(rows: Sequence[ImageRow]) -> list[int | None]:
    """The clusters under their old numbers, without those of which one image is left."""
    sizes = Counter(row.cluster for row in rows)
    return [row.cluster if sizes[row.cluster] > 1 else None for row in rows]


def _split(
    rows: Sequence[ImageRow], labels: Sequence[str], clusters: Sequence[int | None], change: Change
) -> list[Split]:
    """The split of each image. Those in quarantine have one too, so that releasing them divides no unit."""
    paths = [row.path for row in rows]
    units = splits.units([row.group for row in rows], clusters, paths)
    if change.shares is not None:
        return splits.assign(labels, units, paths, change.shares, change.seed)
    given = [row.split for row in rows]
    return splits.repaired(given, units) if change.repair else given


def _check_difference(before: Manifest, after: Manifest) -> None:
    """Refuses a version like the one before, and one that nothing can be learnt from. Raises BadConfig."""
    if before.content_sha256() == after.content_sha256():
        raise BadConfig("The change leaves every image as it is. Choose images to take out, to decide on or to move.")
    for label, counts in after.counts().items():
        if counts["train"] == 0:
            raise BadConfig(
                f"The change leaves class '{label}' without training images outside quarantine. "
                "Take fewer images out, decide on those in quarantine, or make a new split."
            )


def _repacked(
    rows: Sequence[ImageRow], touched: set[int], packs: PackReader, folder: Path, report: Callable[[int], None]
) -> tuple[tuple[ImageRow, ...], list[Path | int]]:
    """The rows in their new places, and the packs in their new order: first those that stay, then the new ones."""
    stay = sorted({row.pack for row in rows} - touched)
    numbers = {old: new for new, old in enumerate(stay)}
    placed = []
    with PackWriter(folder) as writer:
        for done, row in enumerate(rows, start=1):
            if row.pack in numbers:
                place: dict[str, Any] = {"pack": numbers[row.pack]}
            else:
                place = writer.add(packs.read_encoded(row.pack, row.member))._asdict()
                place["pack"] += len(stay)
            placed.append(replace(row, **place))
            report(done)
    return tuple(placed), [*stay, *writer.paths]


def _difference(before: Manifest, after: Manifest) -> Difference:
    rows = {row.path: row for row in before.rows}
    pairs = [(rows[row.path], row) for row in after.rows]
    groups = {row.group for row in before.rows} - {row.group for row in after.rows} - {None}
    return Difference(
        removed=len(before.rows) - len(after.rows),
        relabelled=sum(old.label != new.label for old, new in pairs),
        released=sum(old.quarantined and not new.quarantined for old, new in pairs),
        moved=sum(old.split != new.split for old, new in pairs),
        groups_removed=sorted(group for group in groups if group is not None),
    )

"""How the images of a training came to their splits: the flow of files, and at which level the splits are disjoint."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from ml import splits
from ml.config import SPLITS
from ml.manifest import ImageRow
from webapp.errors import Conflict
from webapp.models import Dataset, Experiment, db
from webapp.storage import DamagedObject, MissingObject
from webapp.studies import members


@dataclass(frozen=True)
class Files:
    """What became of the files that were uploaded for the line, with the reasons of those that fell out."""

    images: int
    rejected: int
    left_out: int
    reasons: list[str]

    @property
    def total(self) -> int:
        return self.images + self.rejected + self.left_out


@dataclass(frozen=True)
class SplitFacts:
    """One split: its images by class, its groups, and its images without a group (None: the list is not at hand)."""

    name: str
    images: int
    by_class: list[int]
    groups: int | None
    ungrouped: int | None


@dataclass(frozen=True)
class Partitions:
    """The splits and what they have in common. What needs the list of images is None where that is not at hand."""

    files: Files | None  # None where the first version of the line is deleted
    images: int
    quarantined: int
    splits: list[SplitFacts]
    leaks: int | None  # images whose group or copies lie in several splits
    group_leaks: int | None
    copy_leaks: int | None
    shared_pixels: int | None  # test images whose pixels are also in train
    by_chance: int | None  # None of a fold, whose cut was not held against chance
    by_chance_share: float
    grouped: int | None  # images with a group
    copies: int | None  # images with a copy or near copy


def of(experiment: Experiment) -> Partitions:
    """The partitions on which an experiment was trained: those of its data set, or of its fold."""
    dataset, is_fold = experiment.dataset, members.fold_of(experiment) is not None
    rows = _rows(experiment)
    used = [row for row in rows or [] if not row.quarantined]
    keys = [row.path for row in used]
    groups, clusters = [row.group for row in used], [row.cluster for row in used]
    nothing: list[Any] = [None] * len(used)

    def leaks(of_groups: list[Any], of_clusters: list[Any]) -> int | None:
        if rows is None:
            return None
        return sum(splits.divided([row.split for row in used], splits.units(of_groups, of_clusters, keys)))

    learned = {row.sha256 for row in used if row.split == "train"}
    return Partitions(
        files=_files(dataset),
        images=dataset.images,
        quarantined=dataset.report.get("quarantined", 0),
        splits=[_split(dataset, name, used if rows is not None else None) for name in SPLITS],
        leaks=leaks(groups, clusters),
        group_leaks=leaks(groups, nothing),
        copy_leaks=leaks(nothing, clusters),
        shared_pixels=_counted(rows, sum(row.split == "test" and row.sha256 in learned for row in used)),
        by_chance=None if is_fold else dataset.report.get("divided_by_chance", 0),
        by_chance_share=dataset.report.get("divided_share", 0.0),
        grouped=_counted(rows, sum(group is not None for group in groups)),
        copies=_counted(rows, sum(cluster is not None for cluster in clusters)),
    )


def level(found: Partitions) -> str:
    """At which level the splits are disjoint, as a sentence."""
    if found.leaks is None:
        return "Unknown: the list of images is not at hand."
    if found.leaks:
        return f"Not disjoint: {found.leaks} images have their group (patient) or a copy in another split."
    if found.grouped and found.grouped < found.images - found.quarantined:
        return "Group (patient) and near copy, for the images that have a group; image and near copy for the others."
    if found.grouped:
        return "Group (patient) and near copy: no group and no set of copies lies in two splits."
    return "Image and near copy: no groups are known, so images of one patient may lie in two splits."


def _counted(rows: Any, count: int) -> int | None:
    return None if rows is None else count


def _rows(experiment: Experiment) -> tuple[ImageRow, ...] | None:
    try:
        return members.manifest_for(experiment, experiment.dataset).rows
    except (Conflict, MissingObject, DamagedObject):
        return None


def _split(dataset: Dataset, name: str, used: list[ImageRow] | None) -> SplitFacts:
    of_split = [row for row in used or [] if row.split == name]
    labels, groups = Counter(row.label for row in of_split), [row.group for row in of_split]
    counted = [int(entry.get(name, 0)) for entry in dataset.classes]
    by_class = counted if used is None else [labels[entry["name"]] for entry in dataset.classes]
    return SplitFacts(
        name=name,
        images=sum(by_class),
        by_class=by_class,
        groups=None if used is None else len({group for group in groups if group is not None}),
        ungrouped=None if used is None else groups.count(None),
    )


def _files(dataset: Dataset) -> Files | None:
    """A changed version has no files of its own: they came with the first one."""
    first: Dataset | None = dataset
    if dataset.parent_number is not None:
        statement = select(Dataset).where(Dataset.line == dataset.line, Dataset.parent_number.is_(None))
        first = db.session.scalar(statement.order_by(Dataset.number).limit(1))
    if first is None:
        return None
    report = first.report
    issues = [issue["message"] for issue in report.get("issues", []) if issue["kind"] in ("rejected", "left_out")]
    counts = {kind: report.get(f"{kind}_count", len(report.get(kind, []))) for kind in ("rejected", "left_out")}
    return Files(images=first.images, reasons=issues, **counts)

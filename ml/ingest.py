"""From an archive to a data set: every image decoded once, checked, split, packed, and written down."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from pathlib import Path
from sys import intern
from typing import Self, cast

from ml import manifest, quality, similarity, splits
from ml.archive import Candidate, look
from ml.config import Frozen, Split
from ml.errors import BadArchive, BadConfig
from ml.ingest_options import ArchiveLimits, IngestOptions, SplitShares
from ml.intake import Intake, Packed
from ml.manifest import ImageRow, Manifest, propose_positive_class
from ml.outline import Outline
from ml.pack import PackWriter
from ml.preview import settled
from ml.quality import Issue, Refused
from ml.texts import Texts

MANIFEST_NAME = "manifest.jsonl.gz"
MAX_LISTED = 1_000


class IngestReport(Frozen):
    """What became of the files. The lists end after 1,000 files; the counts and the issues speak of all.

    `leaks` are images whose group or copies lie in several splits; `divided_by_chance` is how many a random split by
    image would have put there, as an expectation, and `divided_share` their share.
    """

    images: int
    rejected: list[Refused]
    rejected_count: int
    left_out: list[Refused]
    left_out_count: int
    issues: list[Issue]
    quarantined: int = 0
    leaks: int = 0
    divided_by_chance: int = 0
    divided_share: float = 0.0


@dataclass(frozen=True)
class Ingested:
    """A data set on disk."""

    outline: Outline
    manifest_path: Path
    pack_paths: list[Path]
    report: IngestReport

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest, read from its file."""
        return Manifest.read(self.manifest_path)


def ingest(
    source: Iterable[Candidate] | Path,
    folder: Path,
    options: IngestOptions,
    limits: ArchiveLimits,
    report: Callable[[int], None] = lambda done: None,
) -> Ingested:
    """The data set, written into the empty `folder`. `source` is an archive, or images from elsewhere.

    `report` hears very often how many files are done (throttle it), and may raise to stop. Raises BadArchive where no
    usable data set comes out, BadConfig where the options do not fit it.
    """
    archive = look(source, limits, lambda: report(0)) if isinstance(source, Path) else None
    options = settled(options, archive) if archive else options
    with PackWriter(folder) as packs, Intake(packs, options, limits, lambda: report(intake.done)) as intake:
        given = archive.candidates(intake.leave_out, lambda: report(intake.done)) if archive else source
        for candidate in cast(Iterable[Candidate], given):
            intake.take(candidate)
            report(intake.done)
        intake.finish()
        packs.close()
        outline = _outline(intake)
    manifest_path = folder / MANIFEST_NAME
    manifest.write(manifest_path, outline, _rows(outline, intake.packed))
    return Ingested(
        outline, manifest_path, packs.paths, reported(outline, intake.rejected, intake.left_out, options.splits)
    )


@dataclass(slots=True)
class _Known:
    """What the decisions about all images need of each, in columns; equal texts are one object."""

    paths: Texts = field(default_factory=Texts)
    labels: list[str] = field(default_factory=list)
    given_splits: list[Split | None] = field(default_factory=list)
    groups: list[str | None] = field(default_factory=list)
    patients: list[int | None] = field(default_factory=list)
    sha256s: Texts = field(default_factory=Texts)
    areas_px: "array[int]" = field(default_factory=lambda: array("q"))
    issues: list[tuple[str, ...]] = field(default_factory=list)

    @classmethod
    def of(cls, packed: Iterable[Packed]) -> Self:
        known = cls()
        for image in packed:
            known.paths.append(image.path)
            known.labels.append(intern(image.label))
            known.given_splits.append(cast(Split | None, image.given_split and intern(image.given_split)))
            known.groups.append(image.group and intern(image.group))
            known.patients.append(image.patient)
            known.sha256s.append(image.sha256)
            known.areas_px.append(image.width * image.height)
            known.issues.append(tuple(map(intern, image.issues)))
        return known


def _outline(intake: Intake) -> Outline:
    """The images with their splits and findings. Raises BadArchive, BadConfig."""
    known, options = _Known.of(intake.packed), intake.options
    _check_names(intake)
    _check_classes(Counter(known.labels), intake)
    _check_groups(known, options)
    classes = tuple(sorted(set(known.labels)))
    groups = _groups(known)
    clusters = similarity.clusters(intake.prints, known.sha256s)
    chosen = _split(known, splits.units(groups, clusters, known.paths), options)
    waiting = quality.quarantined(known.labels, clusters)
    copies = quality.of_copies(known.labels, chosen, known.sha256s, clusters, groups, waiting)
    outliers = quality.of_outliers(known.areas_px, intake.prints)
    return trainable(
        Outline(
            classes=classes,
            positive_class=_positive_class(classes, options),
            paths=known.paths,
            labels=known.labels,
            splits=chosen,
            groups=groups,
            sha256s=known.sha256s,
            clusters=clusters,
            quarantined=waiting,
            issues=[(*own, *beside, *among) for own, beside, among in zip(known.issues, copies, outliers, strict=True)],
        )
    )


def _rows(outline: Outline, packed: Iterable[Packed]) -> Iterator[ImageRow]:
    """The rows of the manifest, one at a time."""
    for number, image in enumerate(packed):
        yield ImageRow(
            path=image.path,
            label=image.label,
            split=outline.splits[number],
            group=outline.groups[number],
            sha256=image.sha256,
            width=image.width,
            height=image.height,
            pack=image.pack,
            member=image.member,
            offset=image.offset,
            length=image.length,
            thumbnail_offset=image.thumbnail_offset,
            thumbnail_length=image.thumbnail_length,
            cluster=outline.clusters[number],
            quarantined=outline.quarantined[number],
            metadata=image.metadata,
            issues=list(outline.issues[number]),
        )


def _groups(known: _Known) -> list[str | None]:
    """The group of each image; a patient of DICOM files is named by a number, in the order of the smallest paths."""
    first: dict[int, str] = {}
    for patient, path in zip(known.patients, known.paths, strict=True):
        if patient is not None:
            first[patient] = min(first.get(patient, path), path)
    names = {patient: f"patient {n:03d}" for n, patient in enumerate(sorted(first, key=first.__getitem__), start=1)}
    return [
        group or (None if patient is None else names[patient])
        for group, patient in zip(known.groups, known.patients, strict=True)
    ]


def _split(known: _Known, units: Sequence[str | None], options: IngestOptions) -> list[Split]:
    """The given splits, completed; leaks between them are repaired where that is asked for."""
    chosen = splits.complete(known.given_splits, known.labels, units, known.paths, options.splits, options.seed)
    return splits.repaired(chosen, units) if options.repair else chosen


def reported(
    outline: Outline, rejected: Sequence[Refused], left_out: Sequence[Refused], shares: SplitShares
) -> IngestReport:
    """What a person should know of the data set before it is trained on."""
    usable = [not is_waiting for is_waiting in outline.quarantined]
    units = splits.units(
        list(compress(outline.groups, usable)),
        list(compress(outline.clusters, usable)),
        Texts(compress(outline.paths, usable)),
    )
    by_chance = splits.divided_by_chance(units, shares)
    return IngestReport(
        images=len(outline),
        rejected=list(rejected[:MAX_LISTED]),
        rejected_count=len(rejected),
        left_out=list(left_out[:MAX_LISTED]),
        left_out_count=len(left_out),
        issues=quality.findings(outline, rejected, left_out),
        quarantined=len(outline) - len(units),
        leaks=sum(splits.divided(list(compress(outline.splits, usable)), units)),
        divided_by_chance=round(by_chance),
        divided_share=by_chance / max(len(units), 1),
    )


def _check_names(intake: Intake) -> None:
    """Refuses new names for classes that are not there. Raises BadConfig."""
    unknown = sorted(set(intake.options.classes) - intake.classes)
    if unknown:
        known = ", ".join(sorted(intake.classes))
        raise BadConfig(f"The archive has no class '{unknown[0]}' that could be renamed; it has {known}.")


def _check_classes(counts: Counter[str], intake: Intake) -> None:
    """Refuses what cannot be trained on. Raises BadArchive."""
    again = "Put the images of each class into a folder of its name and upload again."
    if not counts:
        raise BadArchive(f"The archive has no usable images{_first_reason(intake)}. {again}")
    if len(counts) < 2:
        raise BadArchive(f"The archive has images of one class only, '{min(counts)}'; at least 2 are needed. {again}")
    limit = intake.limits.max_classes
    if len(counts) > limit:
        raise BadArchive(f"The archive has {len(counts)} classes; at most {limit} are accepted. {again}")
    label, fewest = min(counts.items(), key=lambda item: (item[1], item[0]))
    needed = intake.limits.min_images_per_class
    if fewest < needed:
        found = f"{fewest} image{'s' if fewest > 1 else ''}"
        raise BadArchive(
            f"The archive has {found} of class '{label}'; at least {needed} are needed. Add images and upload again."
        )


def _check_groups(known: _Known, options: IngestOptions) -> None:
    """Refuses a pattern that would protect no patient although it was meant to. Raises BadConfig."""
    if options.group_pattern and not any(known.groups):
        raise BadConfig(
            f"The group pattern '{options.group_pattern}' matches no path, such as '{known.paths[0]}'. Correct it."
        )


def trainable(outline: Outline) -> Outline:
    """The same outline. Raises BadArchive where a class has nothing to learn from."""
    for label, counts in outline.counts().items():
        if counts["train"] == 0:
            raise BadArchive(f"Class '{label}' has no training images. Add some to its training folder.")
    return outline


def _first_reason(intake: Intake) -> str:
    refused: Sequence[Refused] = [*intake.rejected, *intake.left_out]
    return f" ({len(refused)} files refused; '{refused[0].path}': {refused[0].reason})" if refused else ""


def _positive_class(classes: Sequence[str], options: IngestOptions) -> str | None:
    asked = options.positive_class
    if not asked:
        return propose_positive_class(classes)
    if len(classes) != 2:
        raise BadConfig(f"A positive class needs a data set of 2 classes; this one has {len(classes)}. Leave it empty.")
    if asked not in classes:
        raise BadConfig(f"The positive class '{asked}' is not among the classes: {', '.join(classes)}.")
    return asked

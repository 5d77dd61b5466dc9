"""From an archive to a data set: every image decoded once, checked, split, packed, and written down."""

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ml import quality, similarity, splits
from ml.archive import Candidate, look
from ml.config import ArchiveLimits, Frozen, IngestOptions, Split, SplitShares
from ml.errors import BadArchive, BadConfig
from ml.intake import Intake, Packed
from ml.manifest import ImageRow, Manifest, propose_positive_class
from ml.pack import PackWriter
from ml.preview import settled
from ml.quality import Issue, Refused

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
    """A data set on disk: `manifest` is also written beside the packs, as `manifest.jsonl.gz`."""

    manifest: Manifest
    pack_paths: list[Path]
    report: IngestReport


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
        del archive  # what it knows of every file takes memory
        for candidate in cast(Iterable[Candidate], given):
            intake.take(candidate)
            report(intake.done)
        intake.finish()
        packs.close()
        with _collector_paused():
            manifest = _manifest(intake)
    manifest.write(folder / MANIFEST_NAME)
    return Ingested(manifest, packs.paths, reported(manifest, intake.rejected, intake.left_out, options.splits))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Rows by the ten thousand come into being, and none is garbage: the collector need not go through them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _manifest(intake: Intake) -> Manifest:
    """The images with their splits and findings. Raises BadArchive, BadConfig."""
    packed, options = intake.packed, intake.options
    labels = [image.label for image in packed]
    _check_names(intake)
    _check_classes(Counter(labels), intake)
    _check_groups(packed, options)
    classes = tuple(sorted(set(labels)))
    groups, hashes = _groups(packed), [image.sha256 for image in packed]
    clusters = similarity.clusters(intake.prints, hashes)
    chosen = _split(packed, labels, splits.units(groups, clusters, [image.path for image in packed]), options)
    waiting = quality.quarantined(labels, clusters)
    copies = quality.of_copies(labels, chosen, hashes, clusters, groups, waiting)
    outliers = quality.of_outliers([(image.width, image.height) for image in packed], intake.prints)
    rows = tuple(
        ImageRow(
            path=image.path,
            label=image.label,
            split=split,
            group=group,
            sha256=image.sha256,
            width=image.width,
            height=image.height,
            **image.place._asdict(),
            cluster=cluster,
            quarantined=is_waiting,
            metadata=image.metadata,
            issues=[*image.issues, *of_copies, *of_outliers],
        )
        for image, group, split, cluster, is_waiting, of_copies, of_outliers in zip(
            _handed_out(packed), groups, chosen, clusters, waiting, copies, outliers, strict=True
        )
    )
    return trainable(Manifest(classes=classes, positive_class=_positive_class(classes, options), rows=rows))


def _handed_out(packed: list[Packed]) -> Iterator[Packed]:
    """The images in their order, each forgotten at once: its row takes its place in memory."""
    packed.reverse()
    while packed:
        yield packed.pop()


def _groups(packed: Sequence[Packed]) -> list[str | None]:
    """The group of each image; a patient of DICOM files is named by a number, in the order of the smallest paths."""
    first: dict[str, str] = {}
    for image in packed:
        if image.patient:
            first[image.patient] = min(first.get(image.patient, image.path), image.path)
    numbers = {patient: f"patient {n:03d}" for n, patient in enumerate(sorted(first, key=first.__getitem__), start=1)}
    return [image.group or (numbers[image.patient] if image.patient else None) for image in packed]


def _split(
    packed: Sequence[Packed], labels: Sequence[str], units: Sequence[str | None], options: IngestOptions
) -> list[Split]:
    """The given splits, completed; leaks between them are repaired where that is asked for."""
    given = [image.given_split for image in packed]
    chosen = splits.complete(given, labels, units, [image.path for image in packed], options.splits, options.seed)
    return splits.repaired(chosen, units) if options.repair else chosen


def reported(
    manifest: Manifest, rejected: Sequence[Refused], left_out: Sequence[Refused], shares: SplitShares
) -> IngestReport:
    """What a person should know of the data set before it is trained on."""
    rows = [row for row in manifest.rows if not row.quarantined]
    units = splits.units([row.group for row in rows], [row.cluster for row in rows], [row.path for row in rows])
    by_chance = splits.divided_by_chance(units, shares)
    return IngestReport(
        images=len(manifest.rows),
        rejected=list(rejected[:MAX_LISTED]),
        rejected_count=len(rejected),
        left_out=list(left_out[:MAX_LISTED]),
        left_out_count=len(left_out),
        issues=quality.findings(manifest, rejected, left_out),
        quarantined=len(manifest.rows) - len(rows),
        leaks=sum(splits.divided([row.split for row in rows], units)),
        divided_by_chance=round(by_chance),
        divided_share=by_chance / max(len(rows), 1),
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


def _check_groups(packed: Sequence[Packed], options: IngestOptions) -> None:
    """Refuses a pattern that would protect no patient although it was meant to. Raises BadConfig."""
    if options.group_pattern and all(image.group is None for image in packed):
        raise BadConfig(
            f"The group pattern '{options.group_pattern}' matches no path, such as '{packed[0].path}'. Correct it."
        )


def trainable(manifest: Manifest) -> Manifest:
    """The same manifest. Raises BadArchive where a class has nothing to learn from."""
    for label, counts in manifest.counts().items():
        if counts["train"] == 0:
            raise BadArchive(f"Class '{label}' has no training images. Add some to its training folder.")
    return manifest


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

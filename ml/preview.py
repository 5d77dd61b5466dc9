"""The preview of an archive: what was found and what is proposed, before anything is final."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ml.archive import Archive, Candidate, look
from ml.config import Frozen
from ml.errors import BadImage
from ml.ingest_options import ArchiveLimits, IngestOptions
from ml.manifest import propose_positive_class
from ml.patterns import Pattern
from ml.quality import Refused

MAX_LISTED = 200
MAX_SAMPLE = 500
MAX_EXAMPLES = 8


class ClassCount(Frozen):
    """Images of one class, by the name that the archive gives it."""

    name: str
    count: int


class Spread(Frozen):
    """Smallest, middle and largest value, in pixels."""

    smallest: int
    median: int
    largest: int


class GroupExample(Frozen):
    """A path and the group that the rule finds in it."""

    path: str
    group: str | None


class Preview(Frozen):
    """What an archive holds, from its names and the headers of its images; no image has been decoded.

    `group_rule` and `label_rule` are sentences. Patterns are the proposals that `IngestOptions` takes where it has
    None. `sample_paths` are up to 500 paths, spread evenly, for trying a pattern.
    """

    images: int
    classes: list[ClassCount]
    given_splits: dict[str, int]
    formats: dict[str, int]
    width_px: Spread | None
    height_px: Spread | None
    label_rule: str
    group_rule: str
    group_pattern: str | None
    group_examples: list[GroupExample]
    groups: int
    exclude_pattern: str | None
    positive_class: str | None
    metadata_columns: list[str]
    left_out: list[Refused]
    left_out_count: int
    sample_paths: list[str]


def settled(options: IngestOptions, archive: Archive) -> IngestOptions:
    """The options with the archive's proposals where they leave a pattern open."""
    proposals = {"group_pattern": archive.group_pattern, "exclude_pattern": archive.exclude_pattern}
    chosen = {name: proposal or "" for name, proposal in proposals.items() if getattr(options, name) is None}
    return options.model_copy(update=chosen)


def preview(
    path: Path, options: IngestOptions, limits: ArchiveLimits, tick: Callable[[], None] = lambda: None
) -> Preview:
    """What the archive holds, seen through the options. Raises BadArchive, BadConfig. `tick` may raise to stop."""
    archive = look(path, limits, tick)
    options = settled(options, archive)
    found = _Found(Pattern(options.exclude_pattern, "exclude pattern") if options.exclude_pattern else None)
    for candidate in archive.candidates(found.leave_out, tick):
        found.take(candidate)
    paths = [path for path, _ in found.groups]
    pattern = Pattern(options.group_pattern, "group pattern") if options.group_pattern else None
    grouped = examples(pattern, paths) if pattern else found.given_groups()
    named = {example.group for example in grouped if example.group is not None}
    classes = sorted(found.classes.items())
    return Preview(
        images=len(paths),
        classes=[ClassCount(name=name, count=count) for name, count in classes],
        given_splits=dict(found.splits),
        formats=dict(found.formats.most_common()),
        width_px=_spread(found.widths),
        height_px=_spread(found.heights),
        label_rule=archive.label_rule,
        group_rule=_group_rule(options.group_pattern, bool(named)),
        group_pattern=options.group_pattern,
        group_examples=list({example.group: example for example in grouped}.values())[:MAX_EXAMPLES],
        groups=len(named),
        exclude_pattern=options.exclude_pattern,
        positive_class=options.positive_class or propose_positive_class([name for name, _ in classes]),
        metadata_columns=list(archive.table.columns) if archive.table else [],
        left_out=found.left_out[:MAX_LISTED],
        left_out_count=len(found.left_out),
        sample_paths=paths[:: max(1, -(-len(paths) // MAX_SAMPLE))],
    )


def examples(pattern: Pattern, paths: Iterable[str]) -> list[GroupExample]:
    """The group that the pattern finds in each path. Raises BadConfig where the pattern takes too long."""
    return [GroupExample(path=path, group=pattern.group(path)) for path in paths]


@dataclass
class _Found:
    """What has been seen so far."""

    exclude_pattern: Pattern | None
    classes: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    widths: list[int] = field(default_factory=list)
    heights: list[int] = field(default_factory=list)
    groups: list[tuple[str, str | None]] = field(default_factory=list)
    patients: dict[str, str] = field(default_factory=dict)
    left_out: list[Refused] = field(default_factory=list)

    def leave_out(self, path: str, reason: str) -> None:
        self.left_out.append(Refused(path=path, reason=reason))

    def take(self, candidate: Candidate) -> None:
        if self.exclude_pattern and self.exclude_pattern.search(candidate.path.partition("#")[0]):
            self.leave_out(candidate.path, "It matches the exclude pattern.")
            return
        try:
            header = candidate.peek()
        except BadImage as error:
            self.leave_out(candidate.path, str(error))
            return
        self.classes[candidate.label] += 1
        self.splits.update([candidate.split] if candidate.split else [])
        self.formats[header.format] += 1
        self.widths.append(header.width)
        self.heights.append(header.height)
        number = f"patient {len(self.patients) + 1:03d}"
        patient = self.patients.setdefault(candidate.patient, number) if candidate.patient else None
        self.groups.append((candidate.path, candidate.group or patient))

    def given_groups(self) -> list[GroupExample]:
        return [GroupExample(path=path, group=group) for path, group in self.groups]


def _group_rule(pattern: str | None, has_groups: bool) -> str:
    if pattern:
        return "The group (patient) is the first bracket of the pattern, found in the path"
    if has_groups:
        return "The group (patient) is given with each image"
    return "No group was found in the names: each image counts as a patient of its own"


def _spread(values: Sequence[int]) -> Spread | None:
    ordered = sorted(values)
    return Spread(smallest=ordered[0], median=ordered[len(ordered) // 2], largest=ordered[-1]) if ordered else None

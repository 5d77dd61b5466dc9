"""The images of an untrusted archive, one after the other: zip, tar (plain, gzip, xz, bzip2), MedMNIST's npz.

The content decides what the file is, never its name. Nothing is unpacked to disk, so no path in the archive can
lead anywhere.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml import cifar, containers, dicom, grouping, images, masks, npz
from ml.budget import Budget
from ml.config import Split
from ml.containers import Entry, Span
from ml.errors import BadArchive, BadImage
from ml.images import Header
from ml.ingest_options import ArchiveLimits
from ml.labels import MAX_MB, NAMES, Row, Table
from ml.layout import Anywhere, Layout, LeftOut, image_path, may_be_dicom, printable
from ml.patterns import Pattern
from ml.spool import Spool
from ml.texts import Texts

LeftOutReport = Callable[[str, str], None]  # path, reason

_TARS = (
    (b"\x1f\x8b", containers.open_gzip),
    (b"\xfd7zXZ\x00", containers.open_xz),
    (b"BZh", containers.open_bzip2),
)
_FOREIGN = ((b"Rar!", "RAR"), (b"7z\xbc\xaf", "7z"), (b"\x28\xb5\x2f\xfd", "Zstandard"))


@dataclass(frozen=True)
class Candidate:
    """An image that may enter a data set.

    `fetch` takes its bytes out of the archive, before the next candidate is asked for; what it returns decodes them
    to pixels (H, W, 3), at any time and in any thread. `peek` reads no more than the header. All raise BadImage.

    `patient` is the identity in a DICOM file: it keeps a patient's images together and is stored nowhere.
    """

    path: str
    label: str
    split: Split | None
    fetch: Callable[[], Callable[[], NDArray[np.uint8]]]
    peek: Callable[[], Header]
    group: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    patient: str | None = None

    def load(self) -> NDArray[np.uint8]:
        """The pixels, at once."""
        return self.fetch()()


@dataclass(frozen=True)
class Archive:
    """What the names in an archive, and its label table, say before any image is decoded.

    `label_rule` is a sentence. The patterns are proposals: for masks and annotations beside the images, and for the
    patient in a path; None where there is nothing to propose. `spans` tell where the files of a tar lie.
    """

    path: Path
    kind: str
    limits: ArchiveLimits
    spans: Spool[Span]
    layout: Layout
    table: Table | None
    label_rule: str
    group_pattern: str | None
    exclude_pattern: str | None
    names: cifar.Names | None = None

    def candidates(self, left_out: LeftOutReport, tick: Callable[[], None] = lambda: None) -> Iterator[Candidate]:
        """The images; `left_out` hears of every other file, `tick` of all. Raises BadArchive, also on the way."""
        if self.kind == "npz":
            for found in npz.images_of(self.path, self.limits):
                yield Candidate(
                    found.path, found.label, found.split, partial(_given, found.pixels), partial(_given, found.header)
                )
            return
        if self.names is not None:
            yield from self._batches(self.names, left_out, tick)
            return
        seen: set[str] = set()
        for entry in _entries(self.kind, self.path, self.limits, self.spans):
            tick()
            if self.table and printable(entry.name).replace("\\", "/").removeprefix("./") == self.table.path:
                continue
            try:
                yield from self._candidates(entry, seen, left_out)
            except LeftOut as reason:
                left_out(printable(entry.name)[:1_000], str(reason))
        for column in self.table.dropped if self.table else ():
            left_out(f"{self.table.name}: {column}", "The column names people; it is not kept.")  # type: ignore[union-attr]
        for path in self.table.unused() if self.table else ():
            left_out(path[:1_000], f"Its row in {self.table.name} names no image of the archive.")  # type: ignore[union-attr]

    def _batches(self, names: cifar.Names, left_out: LeftOutReport, tick: Callable[[], None]) -> Iterator[Candidate]:
        """The images of CIFAR's batches."""
        for entry in _entries(self.kind, self.path, self.limits, self.spans):
            tick()
            path = printable(entry.name).removeprefix("./")
            if entry.obstacle or not cifar.is_part(path) or cifar.is_names(path):
                left_out(path[:1_000], entry.obstacle or "It is no batch of images.")
                continue
            for image in cifar.images_of(entry.read(), path, names):
                metadata = {"superclass": image.coarse} if image.coarse else {}
                fetch, peek = partial(_given, image.pixels), partial(_given, Header("array", 32, 32))
                yield Candidate(image.path, image.label, image.split, fetch, peek, None, metadata)

    def _candidates(self, entry: Entry, seen: set[str], left_out: LeftOutReport) -> Iterator[Candidate]:
        """One candidate, or one for each frame. Raises LeftOut."""
        path = image_path(printable(entry.name))
        if entry.obstacle:
            raise LeftOut(entry.obstacle)
        row = self._row(path)
        if path in seen:
            raise LeftOut("It has the path of an earlier file.")
        seen.add(path)
        if may_be_dicom(path):
            data = _content(entry)
            if isinstance(data, bytes) and dicom.is_dicom(data):
                yield from self._frames(path, row, data, left_out)
                return
            read: Callable[[], bytes] = partial(_given, data)
        else:
            read = entry.read
        yield Candidate(
            path,
            row.label,
            row.split,
            lambda: images.ImageFile(read(), self.limits.max_image_megapixels),
            lambda: images.header(read()),
            row.group,
            row.metadata,
        )

    def _frames(self, path: str, row: Row, data: bytes, left_out: LeftOutReport) -> Iterator[Candidate]:
        """The frames of a DICOM file; a damaged one is a candidate that cannot be fetched."""
        try:
            file = dicom.read(data, self.limits.max_image_megapixels)
        except BadImage as error:
            fail = partial(_given, error)
            yield Candidate(path, row.label, row.split, fail, fail, row.group, row.metadata)
            return
        header = Header("DICOM", file.width, file.height)
        if file.frames > self.limits.max_frames:
            left_out(path, f"It has {file.frames} frames; the first {self.limits.max_frames} are read.")
        for index in range(min(file.frames, self.limits.max_frames)):
            yield Candidate(
                path if file.frames == 1 else f"{path}#{index + 1:04d}",
                row.label,
                row.split,
                partial(partial, file.frame, index),
                partial(_given, header),
                row.group,
                file.metadata | row.metadata,
                file.patient,
            )

    def _row(self, path: str) -> Row:
        """What table or folders say of the image. Raises LeftOut."""
        if self.table is None:
            place = self.layout.place(path)
            return Row(place.label, place.split, None, {})
        row = self.table.find(path)
        if row is None:
            raise LeftOut(f"It has no row in {self.table.name}.")
        return row


def look(path: Path, limits: ArchiveLimits, tick: Callable[[], None] = lambda: None) -> Archive:
    """What the archive seems to hold. Raises BadArchive. `tick` hears of every entry and may raise to stop."""
    kind = _kind(path, limits)
    if kind == "npz":
        rule = "The class is the number in the array of labels"
        return Archive(path, kind, limits, Spool(Span), Layout.of(()), None, rule, None, None)
    paths, spans = Texts(), Spool(Span)
    table: Table | None = None
    names: cifar.Names | None = None
    for entry in _entries(kind, path, limits):
        tick()
        if entry.span:
            spans.add(entry.span)
        table = table or _table(entry)
        if entry.obstacle is None and cifar.is_names(printable(entry.name).removeprefix("./")):
            names = cifar.Names.read(entry.read())
        try:
            if entry.obstacle is None:
                paths.append(image_path(printable(entry.name)))
        except LeftOut:
            continue
    if names is not None:
        rule = "The class is the label in the batches of CIFAR"
        return Archive(path, kind, limits, spans, Layout.of(()), None, rule, None, None, names)
    excluded = masks.propose(paths)
    masks_of = Pattern(excluded, "exclude pattern") if excluded else None
    kept = Texts(path for path in paths if not masks_of.search(path)) if masks_of else paths
    layout = Layout.of(kept)
    grouped = None if table and table.has_groups else grouping.propose(kept, 0 if table else layout.class_depth)
    rule = f"The class is in the table {table.name}" if table else layout.rule
    return Archive(path, kind, limits, spans, layout, table, rule, grouped.pattern if grouped else None, excluded)


def candidates(
    path: Path, limits: ArchiveLimits, left_out: LeftOutReport, tick: Callable[[], None] = lambda: None
) -> Iterator[Candidate]:
    """The images of the archive, taken as it is."""
    yield from look(path, limits, tick).candidates(left_out, tick)


def unlabelled(
    path: Path, limits: ArchiveLimits, left_out: LeftOutReport, tick: Callable[[], None] = lambda: None
) -> Iterator[Candidate]:
    """The images of the archive wherever they lie, with no class: to be scored, not learned from. Raises BadArchive."""
    archive = Archive(path, _kind(path, limits), limits, Spool(Span), Anywhere.of(()), None, "", None, None)
    yield from archive.candidates(left_out, tick)


def _table(entry: Entry) -> Table | None:
    """The label table, where the entry is one. Raises BadArchive."""
    name = printable(entry.name).replace("\\", "/")
    if name.rpartition("/")[2].lower() not in NAMES or entry.obstacle or "__MACOSX" in name:
        return None
    try:
        data = entry.read()
    except BadImage as error:
        raise BadArchive(f"{name} cannot be read. {error} Pack the archive again.") from error
    if len(data) > MAX_MB * 2**20:
        raise BadArchive(f"{name} has more than {MAX_MB} MiB. Split the data set up.")
    return Table.read(data, name.removeprefix("./"))


def _content(entry: Entry) -> bytes | BadImage:
    """The bytes of the entry, or why they cannot be had."""
    try:
        return entry.read()
    except BadImage as error:
        return error


def _given(value: Any) -> Any:
    """What was found before; a fault is raised now."""
    if isinstance(value, BadImage):
        raise value
    return value


def _entries(kind: str, path: Path, limits: ArchiveLimits, spans: Spool[Span] | None = None) -> Iterator[Entry]:
    """All files of the archive; those of a tar without reading its headers, where their spans are known."""
    budget = Budget(path, limits)
    if kind == "zip":
        return containers.zip_entries(path, budget)
    with path.open("rb") as file:
        start = file.read(8)
    open_stream = next((opener for magic, opener in _TARS if start.startswith(magic)), containers.open_plain)
    if spans:
        return containers.entries_at(path, open_stream, budget, spans)
    return containers.tar_entries(path, open_stream, budget)


def _kind(path: Path, limits: ArchiveLimits) -> str:
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "npz" if npz.is_npz(path, limits) else "zip"
    if start[257:262] == b"ustar" or start.startswith(tuple(magic for magic, _ in _TARS)):
        return "tar"
    if not start:
        raise BadArchive("The archive is empty. Upload a zip, tar (.gz, .xz, .bz2) or npz file.")
    name = next((f"a {name}" for magic, name in _FOREIGN if start.startswith(magic)), "no known")
    raise BadArchive(f"The file is {name} archive. Accepted are zip, tar (.gz, .xz, .bz2) and npz; pack it as zip.")

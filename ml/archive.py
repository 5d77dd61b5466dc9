"""The images of an untrusted archive, one after the other: zip, tar (plain, gzip, xz, bzip2), MedMNIST's npz.

The content decides what the file is, never its name. Nothing is unpacked to disk, so no path in the archive can
lead anywhere.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml import containers, images, npz
from ml.budget import Budget
from ml.config import ArchiveLimits, Split
from ml.containers import Entry
from ml.errors import BadArchive
from ml.layout import Layout, LeftOut, image_path, printable

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
    to pixels (H, W, 3), at any time and in any thread. Both raise BadImage.
    """

    path: str
    label: str
    split: Split | None
    fetch: Callable[[], Callable[[], NDArray[np.uint8]]]
    group: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)

    def load(self) -> NDArray[np.uint8]:
        """The pixels, at once."""
        return self.fetch()()


def candidates(
    path: Path, limits: ArchiveLimits, left_out: LeftOutReport, tick: Callable[[], None] = lambda: None
) -> Iterator[Candidate]:
    """The images of the archive; `left_out` hears of every other file. Raises BadArchive, also on the way.

    `tick` is called for every entry, also while the archive is looked through first, and may raise to stop.
    """
    kind = _kind(path, limits)
    if kind == "npz":
        for array_image in npz.images_of(path, limits):
            yield Candidate(array_image.path, array_image.label, array_image.split, partial(_same, array_image.load))
        return
    layout = Layout.of(_image_paths(_entries(kind, path, limits), tick))
    seen: set[str] = set()
    for entry in _entries(kind, path, limits):
        tick()
        try:
            yield _candidate(entry, layout, seen, limits)
        except LeftOut as reason:
            left_out(printable(entry.name)[:1_000], str(reason))


def _candidate(entry: Entry, layout: Layout, seen: set[str], limits: ArchiveLimits) -> Candidate:
    path = image_path(printable(entry.name))
    if entry.obstacle:
        raise LeftOut(entry.obstacle)
    place = layout.place(path)
    if path in seen:
        raise LeftOut("It has the path of an earlier file.")
    seen.add(path)
    return Candidate(
        path, place.label, place.split, lambda: partial(images.decode, entry.read(), limits.max_image_megapixels)
    )


def _same(load: Callable[[], NDArray[np.uint8]]) -> Callable[[], NDArray[np.uint8]]:
    return load


def _image_paths(entries: Iterator[Entry], tick: Callable[[], None]) -> Iterator[str]:
    for entry in entries:
        tick()
        try:
            if entry.obstacle is None:
                yield image_path(printable(entry.name))
        except LeftOut:
            continue


def _entries(kind: str, path: Path, limits: ArchiveLimits) -> Iterator[Entry]:
    budget = Budget(path, limits)
    if kind == "zip":
        return containers.zip_entries(path, budget)
    with path.open("rb") as file:
        start = file.read(8)
    open_stream = next((opener for magic, opener in _TARS if start.startswith(magic)), containers.open_plain)
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

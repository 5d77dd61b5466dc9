"""The images of a ready data set: its manifest, and single images by range."""

import functools
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from ml.folding import Member, as_seen
from ml.manifest import ImageRow, Manifest
from webapp.datasets.service import store
from webapp.errors import Conflict, NotFound
from webapp.models import Dataset
from webapp.storage import DamagedObject, Store, verify


@dataclass(frozen=True)
class Filter:
    """Which images are wanted; what is None is not asked for."""

    label: str | None = None
    split: str | None = None
    group: str | None = None
    issue: str | None = None
    cluster: int | None = None
    quarantined: bool | None = None

    def fits(self, row: ImageRow) -> bool:
        if self.issue is not None and self.issue not in row.issues:
            return False
        plain = ("label", "split", "group", "cluster", "quarantined")
        return all(getattr(self, name) in (None, getattr(row, name)) for name in plain)

    def given(self) -> dict[str, str | int]:
        """What is asked for, as the values of an address."""
        asked = {name: value for name, value in vars(self).items() if value is not None}
        return {name: int(value) if isinstance(value, bool) else value for name, value in asked.items()}


def manifest_of(dataset: Dataset, member: Member | None = None) -> Manifest:
    """The list of the images of a ready data set, with the splits that a member of a study has seen.

    Raises Conflict, MissingObject, DamagedObject.
    """
    if dataset.manifest_sha256 is None:
        raise Conflict(f"Data set {dataset.id} has no list of images: it is {dataset.status}.")
    return _manifest(cast(Hashable, store()), dataset.manifest_sha256, member)


@functools.lru_cache(maxsize=4)
def _manifest(store: Hashable, sha256: str, member: Member | None) -> Manifest:
    if member:
        return as_seen(_manifest(store, sha256, None), member)
    with cast(Store, store).fetch(sha256) as path:
        verify(path, sha256)
        return Manifest.read(path)


def rows_of(dataset: Dataset, start: int = 0, **asked: Any) -> Iterator[tuple[int, ImageRow]]:
    """Numbered rows from `start` on that fit the asked fields of a Filter, one at a time."""
    rows, wanted = manifest_of(dataset).rows, Filter(**asked)
    for number in range(start, len(rows)):
        if wanted.fits(rows[number]):
            yield number, rows[number]


def row_of(dataset: Dataset, number: int) -> ImageRow:
    """The facts of image `number`. Raises NotFound."""
    rows = manifest_of(dataset).rows
    if not 0 <= number < len(rows):
        raise NotFound(f"Data set {dataset.id} has no image {number}; it has {len(rows)}.")
    return rows[number]


def image_bytes(dataset: Dataset, number: int) -> bytes:
    """The canonical PNG of the image in row `number`. Raises NotFound, MissingObject, DamagedObject."""
    row = row_of(dataset, number)
    return _read(dataset, number, row, row.offset, row.length)


def thumbnail_bytes(dataset: Dataset, number: int) -> bytes | None:
    """The JPEG that lies beside the image; None where the ingest made none."""
    row = row_of(dataset, number)
    if not row.thumbnail_length:
        return None
    return _read(dataset, number, row, row.thumbnail_offset, row.thumbnail_length)


def _read(dataset: Dataset, number: int, row: ImageRow, offset: int, length: int) -> bytes:
    with store().open(dataset.pack_sha256s[row.pack]) as pack:
        pack.seek(offset)
        data = pack.read(length)
    if len(data) < length:
        raise DamagedObject(f"Pack {row.pack} of data set {dataset.id} ends before image {number}; restore it.")
    return data


def sample(dataset: Dataset, per_class: int = 6) -> dict[str, list[int]]:
    """The first images of each class, by their row numbers."""
    found: dict[str, list[int]] = {entry["name"]: [] for entry in dataset.classes}
    for number, row in enumerate(manifest_of(dataset).rows):
        if len(found[row.label]) < per_class:
            found[row.label].append(number)
    return found

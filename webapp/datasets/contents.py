"""The images of a ready data set: its manifest, and single images by range."""

import functools
from collections.abc import Hashable, Iterator
from typing import cast

from ml.manifest import ImageRow, Manifest
from webapp.datasets.service import store
from webapp.errors import Conflict, NotFound
from webapp.models import Dataset
from webapp.storage import DamagedObject, Store, verify


def manifest_of(dataset: Dataset) -> Manifest:
    """The list of the images of a ready data set. Raises Conflict, MissingObject, DamagedObject."""
    if dataset.manifest_sha256 is None:
        raise Conflict(f"Data set {dataset.id} has no list of images: it is {dataset.status}.")
    return _manifest(cast(Hashable, store()), dataset.manifest_sha256)


@functools.lru_cache(maxsize=2)
def _manifest(store: Hashable, sha256: str) -> Manifest:
    with cast(Store, store).fetch(sha256) as path:
        verify(path, sha256)
        return Manifest.read(path)


def rows_of(dataset: Dataset, start: int = 0, **wanted: str | None) -> Iterator[tuple[int, ImageRow]]:
    """Numbered rows from `start` on whose label, split or group is the wanted one."""
    wanted = {key: value for key, value in wanted.items() if value}
    rows = manifest_of(dataset).rows
    for number in range(start, len(rows)):
        if all(getattr(rows[number], key) == value for key, value in wanted.items()):
            yield number, rows[number]


def image_bytes(dataset: Dataset, number: int) -> bytes:
    """The canonical PNG of the image in row `number`. Raises NotFound, MissingObject, DamagedObject."""
    rows = manifest_of(dataset).rows
    if not 0 <= number < len(rows):
        raise NotFound(f"Data set {dataset.id} has no image {number}; it has {len(rows)}.")
    row = rows[number]
    with store().open(dataset.pack_sha256s[row.pack]) as pack:
        pack.seek(row.offset)
        data = pack.read(row.length)
    if len(data) < row.length:
        raise DamagedObject(f"Pack {row.pack} of data set {dataset.id} ends before image {number}; restore it.")
    return data


def sample(dataset: Dataset, per_class: int = 6) -> dict[str, list[int]]:
    """The first images of each class, by their row numbers."""
    found: dict[str, list[int]] = {entry["name"]: [] for entry in dataset.classes}
    for number, row in enumerate(manifest_of(dataset).rows):
        if len(found[row.label]) < per_class:
            found[row.label].append(number)
    return found

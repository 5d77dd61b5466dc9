"""The decoded images of a data set in one file, made once and read by every run that finds it.

Trials of a search, folds, runs again and later attempts want the same pixels at the same size. Their file is named
after what it holds, whatever the images are called and whichever split they are in, and lies on a shelf that outlives
the run: all images of the data set, since folds differ only in who judges. Without a shelf a run decodes for itself.
"""

import contextlib
import functools
import hashlib
import inspect
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from PIL import __version__ as pillow_version

from ml import images, loader, pack
from ml.config import Split
from ml.errors import BadConfig
from ml.images import InputSpec
from ml.loader import Cached, Picked
from ml.manifest import ImageRow, Manifest
from ml.pack import PackReader

log = logging.getLogger(__name__)
FORMAT = "decoded/1"  # to be raised when what is in the file lies otherwise
_MAKERS = (images, loader, pack)  # whose source decides what pixels an image becomes, and how they lie
LEARNED: tuple[Split, Split] = ("train", "validation")
_SEAL_BYTES = hashlib.sha256().digest_size  # the file ends in the hash of all before
_CHUNK_BYTES = 1 << 24


class Shelf(Protocol):
    """Files of one machine by name, each made by whoever asks first and kept for a while."""

    def of(
        self,
        name: str,
        bring: Callable[[str, IO[bytes]], None],
        is_whole: Callable[[IO[bytes]], bool],
        waiting: Callable[[], None],
    ) -> contextlib.AbstractContextManager[Path]:
        """The path of the file, which stays for the `with` block: written by `bring` where there is none that is whole.

        While another writes it, `waiting` is called again and again, and ends the waiting by what it raises.
        """


class Decoded:
    """The images of a data set, decoded: those of each split, out of one file."""

    def __init__(self, path: Path, manifest: Manifest, rows: Sequence[ImageRow]) -> None:
        self.path = path
        self._manifest, self._rows = manifest, rows

    def of_split(self, split: Split) -> Cached:
        """Those of the split, in the order of the manifest."""
        places_N = np.array([at for at, row in enumerate(self._rows) if row.split == split], dtype=np.int64)
        labels_N = np.array([self._manifest.label_index(self._rows[at].label) for at in places_N], dtype=np.int64)
        return Cached(Picked.of(self.path, places_N), labels_N)


@contextlib.contextmanager
def decoded(
    manifest: Manifest,
    packs: PackReader,
    spec: InputSpec,
    scratch: Path,
    shelf: Shelf | None,
    report: Callable[[float], None],
) -> Iterator[Decoded]:
    """The images that a run learns from, for the `with` block; `report` hears the share that is done, at least once.

    It hears of it while another run's decoding is waited for, and while a found file is checked, too: so the run is
    known to live, and can be stopped.

    Raises BadConfig where a split has none, OSError where the disk has no room for them.
    """
    for split in LEARNED:
        if not manifest.of_split(split):
            raise BadConfig(f"The data set has no images in the split '{split}'. Ingest it again with other shares.")
    rows = [row for row in manifest.rows if not row.quarantined and (shelf is not None or row.split in LEARNED)]

    def decode(path: Path) -> None:
        loader.decode(rows, packs, spec, path, lambda done: report(done / len(rows)))

    with contextlib.ExitStack() as stack:
        if shelf is None:
            path = scratch / "images.npy"
            decode(path)
        else:
            path = stack.enter_context(_on(shelf, name_of(rows, spec), decode, report))
        report(1.0)
        yield Decoded(path, manifest, rows)


def name_of(rows: Sequence[ImageRow], spec: InputSpec) -> str:
    """The name of the file: what goes into its pixels, as a hash."""
    made_of = [FORMAT, source_sha256(), pillow_version, spec.model_dump(mode="json"), [row.sha256 for row in rows]]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


@functools.cache
def source_sha256() -> str:
    """The hash of the code that makes the pixels: after an upgrade that touched it nothing older is found."""
    return hashlib.sha256("".join(inspect.getsource(maker) for maker in _MAKERS).encode()).hexdigest()


def _on(
    shelf: Shelf, name: str, decode: Callable[[Path], None], report: Callable[[float], None]
) -> contextlib.AbstractContextManager[Path]:
    """The file of that name, whole; one that is found damaged is made anew."""

    def bring(_: str, file: IO[Any]) -> None:
        path = Path(file.name)
        decode(path)
        with path.open("rb") as made:
            seal = _hash(made, path.stat().st_size, lambda: report(1.0))
        with path.open("ab") as end:
            end.write(seal)

    def is_whole(file: IO[bytes]) -> bool:
        if _is_sealed(file, lambda: report(0.0)):
            return True
        log.warning("decoded_images_damaged", extra={"file": name})
        return False

    return shelf.of(name, bring, is_whole, lambda: report(0.0))


def _is_sealed(file: IO[bytes], tick: Callable[[], None]) -> bool:
    size = file.seek(0, os.SEEK_END) - _SEAL_BYTES
    if size <= 0:
        return False
    file.seek(size)
    return file.read() == _hash(file, size, tick)


def _hash(file: IO[bytes], size: int, tick: Callable[[], None]) -> bytes:
    """Of so many bytes from the beginning; `tick` is called with each chunk."""
    digest, left = hashlib.sha256(), size
    file.seek(0)
    while chunk := file.read(min(_CHUNK_BYTES, left)):
        tick()
        digest.update(chunk)
        left -= len(chunk)
    return digest.digest()

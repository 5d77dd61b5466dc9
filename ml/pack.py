"""Packs: the images of a data set, lossless, in a few files with random access.

A pack is an ordinary ZIP of stored PNG files, so any tool opens it; its index is the ZIP's own directory. Who knows
an image's `Place` needs no index: the file's bytes lie there as they are, also behind a range request to a store.
The same images in the same order give the same bytes.
"""

import os
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ml import images
from ml.errors import BadArtifact, BadImage

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a ZIP can hold
_LOCAL_HEADER_BYTES = 30  # before the name of a member; PKWARE's APPNOTE, 4.3.7
THUMBNAIL_PX = 192
_BUFFER_BYTES = 1 << 20
_ANY_SIZE = 1_000_000  # megapixels: the limit was applied when the image came in


class Place(NamedTuple):
    """Where an image lies: number of its pack, name of its file there, the bytes of the file and of its thumbnail.

    A small image has no thumbnail: its length is 0.
    """

    pack: int
    member: str
    offset: int
    length: int
    thumbnail_offset: int = 0
    thumbnail_length: int = 0


class Encoded(NamedTuple):
    """An image as a pack holds it: lossless, and small for pages (empty where the image itself is small)."""

    png: bytes
    thumbnail_jpeg: bytes


def encode(image_HWC: NDArray[np.uint8]) -> Encoded:
    """The image ready for a pack; any thread may do it."""
    is_large = max(image_HWC.shape[:2]) > THUMBNAIL_PX
    thumbnail_jpeg = images.thumbnail(image_HWC, THUMBNAIL_PX) if is_large else b""
    return Encoded(images.encode_canonical(image_HWC), thumbnail_jpeg)


class _Forward:
    """A file that is only written forwards. `zipfile` would go back to each header, and each time empty the buffer."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


class PackWriter:
    """Writes images into `folder`; starts a new pack where the next image would pass a limit.

    A limit on their number bounds the index, which stays in memory until the pack is complete.
    """

    def __init__(self, folder: Path, max_mb: int = 256, max_images: int = 10_000) -> None:
        self.paths: list[Path] = []
        self.folder = folder
        self._max_bytes = max_mb * 1_000_000
        self._max_images = max_images
        self._images_in_pack = 0
        self._written_bytes = 0
        self._images = 0
        self._zip: zipfile.ZipFile | None = None

    def add(self, image: Encoded) -> Place:
        """Where the image lies from now on; the number of a pack is its index in `paths`."""
        size = len(image.png) + len(image.thumbnail_jpeg)
        is_full = self._written_bytes + size > self._max_bytes or self._images_in_pack == self._max_images
        if self._zip is None or is_full:
            self._zip = self._next_pack()
        member = f"{self._images:06d}.png"
        offset = _store(self._zip, member, image.png)
        place = Place(len(self.paths) - 1, member, offset, len(image.png))
        if image.thumbnail_jpeg:
            thumbnail_offset = _store(self._zip, f"{self._images:06d}.jpg", image.thumbnail_jpeg)
            place = place._replace(thumbnail_offset=thumbnail_offset, thumbnail_length=len(image.thumbnail_jpeg))
        self._written_bytes += size
        self._images += 1
        self._images_in_pack += 1
        return place

    def close(self) -> None:
        """Writes the index of the last pack; without it the pack cannot be read."""
        if self._zip is not None:
            self._zip.close()
            self._file.close()
            self._zip = None

    def _next_pack(self) -> zipfile.ZipFile:
        self.close()
        path = self.folder / f"pack-{len(self.paths):04d}.zip"
        self.paths.append(path)
        self._written_bytes = self._images_in_pack = 0
        self._file = path.open("wb", buffering=_BUFFER_BYTES)
        return zipfile.ZipFile(_Forward(self._file), "w", zipfile.ZIP_STORED)  # type: ignore[call-overload]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _store(pack: zipfile.ZipFile, name: str, data: bytes) -> int:
    """Writes the bytes as they are; their offset in the pack."""
    info = zipfile.ZipInfo(name, date_time=_EPOCH)
    info.create_system = 3  # Unix, on whatever system this runs
    info.external_attr = 0o644 << 16
    pack.writestr(info, data, zipfile.ZIP_STORED)
    return info.header_offset + _LOCAL_HEADER_BYTES + len(name)


class PackReader:
    """Reads images from packs, in the order of their numbers. May be pickled, forked and shared by threads."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._forget()

    def read(self, pack: int, member: str) -> NDArray[np.uint8]:
        """Pixels of one image, shape (H, W, 3). Raises BadArtifact."""
        try:
            return images.decode(self.read_bytes(pack, member), max_megapixels=_ANY_SIZE)
        except BadImage as error:
            raise BadArtifact(f"'{member}' of pack {pack} is damaged. Bring the data set in again.") from error

    def read_bytes(self, pack: int, member: str) -> bytes:
        """The PNG file of one image. Raises BadArtifact."""
        if not 0 <= pack < len(self._paths):
            raise BadArtifact(f"Pack {pack} is not among the {len(self._paths)} packs of the data set.")
        try:
            return self._open(pack).read(member)
        except (OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise BadArtifact(
                f"'{member}' cannot be read from '{self._paths[pack].name}': {error}. Bring the data set in again."
            ) from error

    def read_encoded(self, pack: int, member: str) -> Encoded:
        """The image as it lies there, to be copied into another pack. Raises BadArtifact."""
        thumbnail = member.replace(".png", ".jpg")
        png = self.read_bytes(pack, member)
        has_thumbnail = thumbnail in self._open(pack).NameToInfo
        return Encoded(png, self.read_bytes(pack, thumbnail) if has_thumbnail else b"")

    def close(self) -> None:
        """Closes the files; a later read opens them again."""
        with self._lock:
            for opened in self._opened.values():
                opened.close()
            self._opened.clear()

    def _open(self, pack: int) -> zipfile.ZipFile:
        if self._process != os.getpid():
            self._forget()  # after a fork the file positions are shared with the parent
        with self._lock:
            if pack not in self._opened:
                self._opened[pack] = zipfile.ZipFile(self._paths[pack])
            return self._opened[pack]

    def _forget(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._opened: dict[int, zipfile.ZipFile] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"paths": self._paths}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["paths"])  # type: ignore[misc]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

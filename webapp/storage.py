"""Objects addressed by the sha256 of their bytes, never modified: archives, packs, checkpoints, artifacts.

The shape is that of an object store. Nothing may assume that two processes see one folder, nor that a path
from `fetch` outlives the `with` block that asked for it.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

CHUNK_BYTES = 1 << 20
CHECK_BYTES = 1 << 14
SHA256 = re.compile(r"[0-9a-f]{64}")


class MissingObject(Exception):
    """No object has this address."""


class DamagedObject(Exception):
    """The bytes under this address no longer have this sha256."""


class Store(Protocol):
    def keep(self, stream: BinaryIO) -> str:
        """The sha256 of the bytes of `stream`, which are kept; the same bytes twice are kept once."""

    def open(self, sha256: str) -> BinaryIO:
        """A readable, seekable stream of the object. Raises MissingObject."""

    def fetch(self, sha256: str) -> contextlib.AbstractContextManager[Path]:
        """A local path of the object, valid within the `with` block. Raises MissingObject."""

    def delete(self, sha256: str) -> None:
        """Forgets the object; harmless where there is none."""

    def addresses(self) -> Iterator[tuple[str, float]]:
        """Each object's sha256 and its age in seconds."""

    def check(self) -> None:
        """Raises OSError where the store cannot be written to."""

    def remove_drafts(self, older_than_s: float) -> None:
        """Forgets what interrupted writers left behind."""


class FolderStore:
    """A store in a folder: `ab/abcdef...`, written beside its place and renamed into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, stream: BinaryIO) -> str:
        digest = hashlib.sha256()
        with self._draft() as draft:
            with draft.open("wb") as file:
                while chunk := stream.read(CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            path = self._path(digest.hexdigest())
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.replace(path)
        return digest.hexdigest()

    def open(self, sha256: str) -> BinaryIO:
        try:
            return self._path(sha256).open("rb")
        except FileNotFoundError:
            raise MissingObject(f"The store has no object {sha256}.") from None

    @contextlib.contextmanager
    def fetch(self, sha256: str) -> Iterator[Path]:
        path = self._path(sha256)
        if not path.is_file():
            raise MissingObject(f"The store has no object {sha256}.")
        yield path

    def delete(self, sha256: str) -> None:
        self._path(sha256).unlink(missing_ok=True)

    def addresses(self) -> Iterator[tuple[str, float]]:
        now = time.time()
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            with contextlib.suppress(FileNotFoundError):
                yield path.name, now - path.stat().st_mtime

    def check(self) -> None:
        with self._draft() as draft, draft.open("wb") as file:
            file.write(bytes(CHECK_BYTES))  # a full disk still makes empty files
            file.flush()
            os.fsync(file.fileno())

    def remove_drafts(self, older_than_s: float) -> None:
        for path in (self.folder / "drafts").glob("*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > older_than_s:
                    path.unlink()

    def _path(self, sha256: str) -> Path:
        if not SHA256.fullmatch(sha256):
            raise MissingObject(f"{sha256!r} is not the address of an object.")
        return self.folder / sha256[:2] / sha256

    @contextlib.contextmanager
    def _draft(self) -> Iterator[Path]:
        drafts = self.folder / "drafts"
        drafts.mkdir(parents=True, exist_ok=True)
        path = drafts / secrets.token_hex(8)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def open_store(url: str) -> Store:
    """The store behind a `file://` URL. Raises ValueError for another scheme."""
    parts = urlsplit(url)
    if parts.scheme != "file":
        raise ValueError(f"APP_STORAGE_URL is '{url}'; only file:// URLs are known. Write file:///path/to/folder.")
    return FolderStore(Path(unquote(parts.path)))


def verify(path: Path, sha256: str) -> None:
    """Raises DamagedObject where the file's bytes have another sha256."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise DamagedObject(
            f"An object has the sha256 {found[:12]}… instead of {sha256[:12]}…; restore it from a backup."
        )


@contextlib.contextmanager
def workspace(parent: Path) -> Iterator[Path]:
    """A folder of one's own under `parent`, removed afterwards; locked, so that one left by a dead process shows."""
    name = secrets.token_hex(8)
    path, unlocked = parent / f"work-{name}", parent / f"new-{name}"
    unlocked.mkdir(parents=True)
    lock = os.open(unlocked, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        unlocked.rename(path)  # from now on `remove_abandoned` sees it
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def remove_abandoned(parent: Path) -> None:
    """Removes the workspaces under `parent` whose process died."""
    for path in parent.glob("work-*"):
        with contextlib.suppress(OSError):  # in use, or gone already
            lock = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)

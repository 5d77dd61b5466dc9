"""The store of one machine, or of several that share a file system."""

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from webapp.storage.contract import CHUNK_BYTES, key_of, missing

CHECK_BYTES = 1 << 14


class FolderStore:
    """A store in a folder, where an object is written beside its place and renamed into it."""

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
            raise missing(sha256) from None

    @contextlib.contextmanager
    def fetch(self, sha256: str) -> Iterator[Path]:
        path = self._path(sha256)
        if not path.is_file():
            raise missing(sha256)
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
        return self.folder / key_of(sha256)

    @contextlib.contextmanager
    def _draft(self) -> Iterator[Path]:
        drafts = self.folder / "drafts"
        drafts.mkdir(parents=True, exist_ok=True)
        path = drafts / secrets.token_hex(8)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

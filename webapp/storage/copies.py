"""Files on the local disk that can be had again, of limited size and age: the one used longest ago goes first.

Copies of objects of a bucket, and what jobs make of objects and want to find again. They may show a patient whose
images were deleted meanwhile, on another machine even: therefore none stays long after its last use.
"""

import contextlib
import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from webapp.settings import Settings
from webapp.storage.contract import DamagedObject

WAITING_S = 0.5  # between two looks whether another has brought the copy
KEPT_S = 24 * 3600.0  # after the last use: a night between two runs, and hardly longer

Bring = Callable[[str, IO[bytes]], None]
IsWhole = Callable[[IO[bytes]], bool]


def copies_of(settings: Settings) -> "Copies":
    """Those of this machine."""
    return Copies(settings.scratch / "copies", settings.cache_mb * 2**20)


class Copies:
    """A folder of files named by a sha256, of their bytes or of what they are made of, shared by all of the machine.

    Whoever uses a file holds a lock on it, and only what nobody holds is removed: what is in use, and the newest one,
    may pass the limit.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder, self._limit_bytes = folder, limit_bytes

    def has(self, sha256: str) -> bool:
        return (self._folder / sha256).exists()

    @contextlib.contextmanager
    def of(
        self,
        sha256: str,
        bring: Bring,
        is_whole: IsWhole = lambda file: True,
        waiting: Callable[[], None] = lambda: None,
    ) -> Iterator[Path]:
        """The path of the copy, which stays for the `with` block: made by `bring` where there is none that is whole.

        While another makes it, `waiting` is called again and again; what it raises ends the waiting. A copy that the
        block finds damaged, and says so by DamagedObject, is forgotten.
        """
        path = self._folder / sha256
        with _held(path, is_whole) or self._brought(path, bring, is_whole, waiting) as held:
            os.utime(held.fileno())
            try:
                yield path
            except DamagedObject:
                if _is_at(path, held):  # and not a good one that another who noticed has made
                    self.forget(sha256)
                raise
            finally:
                os.utime(held.fileno())

    def forget(self, sha256: str) -> None:
        (self._folder / sha256).unlink(missing_ok=True)

    def remove_unused(self) -> None:
        """Removes what nobody holds, nor has used for `KEPT_S`."""
        with contextlib.suppress(FileNotFoundError):  # none was ever made
            for used_at, _, path in self._found():
                if time.time() - used_at > KEPT_S:
                    _removed(path)

    def _brought(self, path: Path, bring: Bring, is_whole: IsWhole, waiting: Callable[[], None]) -> IO[bytes]:
        """The new copy, open and held, also in place of a damaged one. Who wants it meanwhile waits, and finds it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        turn = path.with_suffix(".turn")
        with turn.open("wb") as lock:
            while not _is_locked(lock):
                waiting()
                time.sleep(WAITING_S)
            try:
                held = _held(path, is_whole) or self._fetched_where_there_is_room(path, bring)
            finally:
                turn.unlink(missing_ok=True)
        self.remove_unused()
        self._make_room(self._limit_bytes)
        return held

    def _fetched_where_there_is_room(self, path: Path, bring: Bring) -> IO[bytes]:
        """The new copy; on a disk that is full before the limit is reached, in the room of all that nobody holds."""
        try:
            return self._fetched(path, bring)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        self._make_room(0)
        return self._fetched(path, bring)

    def _fetched(self, path: Path, bring: Bring) -> IO[bytes]:
        draft = tempfile.NamedTemporaryFile(dir=self._folder, prefix="draft-", delete=False)  # noqa: SIM115  # is handed on
        try:
            fcntl.flock(draft, fcntl.LOCK_SH)
            bring(path.name, draft)
            draft.flush()
            os.fsync(draft.fileno())
            os.replace(draft.name, path)
        except BaseException:
            draft.close()
            Path(draft.name).unlink(missing_ok=True)
            raise
        return draft

    def _make_room(self, limit_bytes: int) -> None:
        """Removes what nobody holds, the oldest first, until the limit is kept; drafts of the dead among it."""
        found = self._found()
        total = sum(size for _, size, _ in found)
        for _, size, path in found:
            if total <= limit_bytes:
                return
            total -= size if _removed(path) else 0

    def _found(self) -> list[tuple[float, int, Path]]:
        """When each file was used, its size and its path, the oldest first."""
        found = []
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        return sorted(found)


def _held(path: Path, is_whole: IsWhole) -> IO[bytes] | None:
    """The file, open and locked; None where there is none, or no longer, or it is damaged."""
    with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        fcntl.flock(file, fcntl.LOCK_SH)  # waits for whoever removes it just now
        if _is_at(path, file) and is_whole(file):
            stack.pop_all()
            return file
    return None


def _is_locked(file: IO[bytes]) -> bool:
    """Whether it is ours now, and nobody else's."""
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _is_at(path: Path, file: IO[bytes]) -> bool:
    """Whether the open file is still the one of that name."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _removed(path: Path) -> bool:
    """Whether the file could be removed, since nobody held it."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        if _is_locked(file) and _is_at(path, file):
            path.unlink()
            return True
    return False

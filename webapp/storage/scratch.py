"""Folders for work in progress on the local disk; those of dead processes can be told from those in use."""

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path


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

"""What every store offers, and what it raises."""

import contextlib
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

CHUNK_BYTES = 1 << 20
SHA256 = re.compile(r"[0-9a-f]{64}")


class MissingObject(Exception):
    """No object has this address."""


class DamagedObject(Exception):
    """The bytes under this address no longer have this sha256."""


class StoreAway(OSError):
    """The store does not answer, or refuses to: nothing is known of the object."""


class Store(Protocol):
    def keep(self, stream: BinaryIO) -> str:
        """The sha256 of the bytes of `stream`, which are kept; the same bytes twice are kept once."""

    def open(self, sha256: str) -> BinaryIO:
        """A readable, seekable stream of the object, for a part of it. Raises MissingObject, StoreAway."""

    def fetch(self, sha256: str) -> contextlib.AbstractContextManager[Path]:
        """A local path of the whole object, valid within the `with` block.

        Raises MissingObject, StoreAway, DamagedObject.
        """

    def delete(self, sha256: str) -> None:
        """Forgets the object; harmless where there is none."""

    def addresses(self) -> Iterator[tuple[str, float]]:
        """Each object's sha256 and its age in seconds."""

    def check(self) -> None:
        """Raises OSError where the store cannot be written to."""

    def remove_drafts(self, older_than_s: float) -> None:
        """Forgets what interrupted writers left behind."""


def key_of(sha256: str) -> str:
    """The name of the object, the same in folder and bucket, so that one may be copied into the other."""
    if not SHA256.fullmatch(sha256):
        raise MissingObject(f"{sha256!r} is not the address of an object.")
    return f"{sha256[:2]}/{sha256}"


def missing(sha256: str) -> MissingObject:
    return MissingObject(f"The store has no object {sha256}.")


def verify(path: Path, sha256: str) -> None:
    """Raises DamagedObject where the file's bytes have another sha256."""
    with path.open("rb") as file:
        judge(hashlib.file_digest(file, "sha256").hexdigest(), sha256)


def judge(found: str, sha256: str) -> None:
    """Raises DamagedObject where the two differ."""
    if found != sha256:
        raise DamagedObject(
            f"An object has the sha256 {found[:12]}… instead of {sha256[:12]}…; restore it from a backup."
        )

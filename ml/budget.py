"""What reading an untrusted archive may cost: entries, bytes and their ratio, counted while they pass.

Sizes and numbers that the archive declares about itself are never believed.
"""

import lzma
import struct
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml.errors import BadArchive
from ml.ingest_options import ArchiveLimits

_MB = 1_000_000
_RATIO_FROM_BYTES = 100 * _MB

# What the standard library and NumPy let through when the bytes are hostile.
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    MemoryError,
    SyntaxError,
    tokenize.TokenError,
)


class Budget:
    """What is left of the limits in one pass over an archive. Its methods raise BadArchive."""

    def __init__(self, path: Path, limits: ArchiveLimits) -> None:
        self.limits = limits
        self._packed_bytes = path.stat().st_size
        self._bytes = 0
        self._entries = 0

    def count_entry(self) -> None:
        """Takes one file off the budget."""
        self._entries += 1
        if self._entries > self.limits.max_entries:
            raise BadArchive(f"The archive has more than {self.limits.max_entries} files. Split it up.")

    def count_bytes(self, count: int) -> None:
        """Takes unpacked bytes off the budget."""
        self._bytes += count
        if self._bytes > self.limits.max_total_mb * _MB:
            raise BadArchive(f"The archive unpacks to more than {self.limits.max_total_mb} MB. Split it up.")
        if self._bytes > max(_RATIO_FROM_BYTES, self.limits.max_ratio * self._packed_bytes):
            raise BadArchive(
                f"The archive unpacks to more than {self.limits.max_ratio} times its size, as a decompression bomb "
                "does. Pack the images without other files."
            )

    def check_size(self, name: str, size: int) -> None:
        """Refuses a file that unpacked to more than one file may."""
        if size > self.limits.max_entry_mb * _MB:
            raise BadArchive(f"'{name}' unpacks to more than {self.limits.max_entry_mb} MB. Leave it out.")


@contextmanager
def damage_reported(what: str = "The archive") -> Iterator[None]:
    """Turns what the libraries raise on damaged bytes into BadArchive."""
    try:
        yield
    except DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise BadArchive(f"{what} is damaged or cut short ({reason}). Pack it again and upload it again.") from error

"""Rows that wait on disk, for an archive's length must not fill the memory."""

import json
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

Row = TypeVar("Row", bound=tuple[Any, ...])
_IN_MEMORY_BYTES = 1 << 20  # a short one needs no file


class Spool(Generic[Row]):
    """Tuples of what JSON can hold, in the order in which they came. `make` builds one from its values.

    It is written, and then read as often as is needed, by one reader at a time. Its file has no name and is gone with
    the last one who knows the spool.
    """

    def __init__(self, make: Callable[..., Row]) -> None:
        self._make = make
        # Closed with this object: who holds it, holds the file.
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115
        self._count = 0

    def add(self, row: Row) -> None:
        self._file.write(json.dumps(row).encode() + b"\n")
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Row]:
        self._file.seek(0)
        for line in self._file:
            yield self._make(*json.loads(line))

    def __del__(self) -> None:
        self._file.close()

"""Tables as CSV that a spreadsheet opens without running anything in them."""

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n")


def lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The table line by line (RFC 4180) under a head of its columns; None is an empty cell.

    A text that a spreadsheet would take for a formula gets an apostrophe before it (OWASP, "CSV injection").
    """
    for cells in itertools.chain([columns], rows):
        line = io.StringIO()
        csv.writer(line).writerow([_inert(cell) for cell in cells])
        yield line.getvalue()


def _inert(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_SIGNS) else cell

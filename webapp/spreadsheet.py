"""Tables as CSV that a spreadsheet opens without running anything in them."""

import csv
import datetime
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

PIECE = 2**15  # characters
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def pieces(columns: Iterable[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The table (RFC 4180) under a head of its columns, in pieces of whole lines, made while the rows are read.

    None is an empty cell, a moment is ISO 8601. A text that a spreadsheet would take for a formula gets an apostrophe
    before it (OWASP, "CSV injection"); texts stand in quotation marks, for a semicolon or a tab in one would begin a
    new cell where a spreadsheet takes these for separators.
    """
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)
    for cells in itertools.chain([columns], rows):
        writer.writerow([_inert(cell) for cell in cells])
        if text.tell() > PIECE:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()


def _inert(cell: Any) -> Any:
    if isinstance(cell, datetime.datetime):
        return cell.isoformat()
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_SIGNS) else cell

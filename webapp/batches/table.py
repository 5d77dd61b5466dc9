"""The results of a batch as CSV, line by line."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from flask import Response

from webapp.batches import service
from webapp.models import BatchPrediction

FIRST = ("filename", "label", "probability")
LAST = ("decision", "abstained", "error")
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets take for a formula where a cell begins with it


def sent(batch: BatchPrediction) -> Response:
    """All results as a file, sent while they are read. Raises Conflict, Gone, MissingObject."""
    found = lines(service.results(batch), batch.version.classes)
    headers = {"Content-Disposition": f"attachment; filename=batch-{batch.id}.csv"}
    return Response(found, mimetype="text/csv", headers=headers)


def lines(results: Iterable[dict[str, Any]], classes: Sequence[str]) -> Iterator[str]:
    """A head and a line for each image; `p_` before a class is its probability."""
    yield _line([*FIRST, *(f"p_{name}" for name in classes), *LAST])
    for one in results:
        shares = one.get("probabilities", {})
        yield _line([*map(one.get, FIRST), *map(shares.get, classes), *map(one.get, LAST)])


def _line(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow([_harmless(cell) for cell in cells])
    return text.getvalue()


def _harmless(cell: Any) -> Any:
    """Names come from archives: none may become a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULAS) else cell

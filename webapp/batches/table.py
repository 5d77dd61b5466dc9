"""The results of a batch as CSV."""

from typing import Any

from flask import Response

from webapp import spreadsheet
from webapp.batches import service
from webapp.models import BatchPrediction

FIRST = ("filename", "label", "probability")
LAST = ("decision", "abstained", "in_domain", "error")


def sent(batch: BatchPrediction) -> Response:
    """All results as a file, sent while they are read; `p_` before a class is its probability.

    Raises Conflict, Gone, MissingObject.
    """
    results, classes = service.results(batch), batch.version.classes
    rows = (
        [*map(one.get, FIRST), *map(one.get("probabilities", {}).get, classes), _set(one), *map(one.get, LAST)]
        for one in results
    )
    headers = {"Content-Disposition": f"attachment; filename=batch-{batch.id}.csv"}
    columns = [*FIRST, *(f"p_{name}" for name in classes), "prediction_set", *LAST]
    return Response(spreadsheet.pieces(columns, rows), mimetype="text/csv", headers=headers)


def _set(one: dict[str, Any]) -> str | None:
    """The classes of a conformal set; None where there is no such policy, an empty text where the set is empty."""
    names = one.get("prediction_set")
    return None if names is None else "; ".join(names)

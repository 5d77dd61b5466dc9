"""The results of a batch as CSV."""

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
        [*map(one.get, FIRST), *map(one.get("probabilities", {}).get, classes), *map(one.get, LAST)] for one in results
    )
    headers = {"Content-Disposition": f"attachment; filename=batch-{batch.id}.csv"}
    columns = [*FIRST, *(f"p_{name}" for name in classes), *LAST]
    return Response(spreadsheet.pieces(columns, rows), mimetype="text/csv", headers=headers)

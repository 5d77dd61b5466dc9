"""Batch predictions: row -> ml -> row."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from jobs.work import Work
from ml.archive import unlabelled
from ml.errors import BadArchive
from ml.ingest_options import ArchiveLimits
from webapp.models import BatchPrediction, db

if TYPE_CHECKING:
    from ml.batches import Scored


def score(work: Work) -> None:
    """Scores the archive of the row, which is forgotten afterwards; the results are one object of the store."""
    from ml import batches
    from webapp.predictions import loading

    batch = db.session.get_one(BatchPrediction, work.attempt.row_id)
    version = batch.version
    db.session.expunge_all()
    db.session.remove()
    counts = {"images": 0, "errors": 0, "left_out": 0}

    def leave_out(path: str, reason: str) -> None:
        counts["left_out"] += 1

    def counted(results: "Iterator[Scored]") -> "Iterator[Scored]":
        for one in results:
            counts["images"] += 1
            counts["errors"] += one.error is not None
            work.attempt.report(phase="scoring images", **counts)
            yield one

    path = work.scratch / "results"
    predictor = loading.load(work.store, version, threads=0)
    with work.archive_of(batch) as archive:
        candidates = unlabelled(archive, ArchiveLimits(), leave_out, work.attempt.report)
        batches.write(path, counted(batches.score(predictor, candidates)))
    if not counts["images"]:
        raise BadArchive("The archive has no image. Pack PNG, JPEG, TIFF, DICOM or the like and send it again.")
    work.attempt.report(phase="storing")
    work.attempt.end("succeeded", progress=1.0, results_sha256=work.keep(path), archive_part_sha256s=[], **counts)

"""Batch predictions, as JSON and CSV."""

from typing import Any, cast

from flask import Blueprint, request
from sqlalchemy import select

from webapp import cancelling
from webapp.api import answers, bodies, schemas, sent
from webapp.api.bodies import asks, may_fail, may_take
from webapp.api.shapes import Accepted, Page, Table
from webapp.batches import service, table
from webapp.models import BatchPrediction
from webapp.pagination import page_of
from webapp.security import actor, allow

bp = Blueprint("api_batches", __name__, url_prefix="/api/v1/batch-predictions")
ARCHIVES: dict[str, Any] = {"multipart/form-data": sent.BatchForm, "application/json": sent.NewBatch}


@bp.post("")
@allow("researcher")
@may_take(ARCHIVES)
@may_fail(410)
def create_batch_prediction() -> Accepted[answers.BatchPrediction]:
    """Scores every image of an archive (zip, tar, tar.gz, tar.xz, npz) as a job.

    The archive comes as multipart, or as JSON with the id of a finished resumable upload. Folders do not matter.
    Without a `version` the active one scores.
    """
    if request.is_json:
        wanted = bodies.body(sent.NewBatch)
        row = service.create_from_upload(wanted.upload, wanted.name, wanted.version, actor().user)
    else:
        part, given = bodies.archive(), bodies.form(sent.BatchFields)
        stream: Any = part.stream
        row = service.create_from_archive(stream, given.name, given.version, actor().user)
    return schemas.batch_prediction(row), 202


@bp.get("")
@allow("researcher")
@asks(sent.PageArguments)
def list_batch_predictions(asked: sent.PageArguments) -> Page[answers.BatchPrediction]:
    page = page_of(select(BatchPrediction), BatchPrediction, asked.limit, asked.cursor)
    return {"items": [schemas.batch_prediction(row) for row in page.items], "next": page.next}


@bp.get("/<int:batch_id>")
@allow("researcher")
def read_batch_prediction(batch_id: int) -> answers.BatchPrediction:
    return schemas.batch_prediction(service.get(batch_id))


@bp.post("/<int:batch_id>/cancel")
@allow("researcher")
def cancel_batch_prediction(batch_id: int) -> Accepted[answers.BatchPrediction]:
    row = service.get(batch_id)
    cancelling.cancel(row, actor().user)
    return schemas.batch_prediction(row), 202


@bp.get("/<int:batch_id>/results.csv")
@allow("researcher")
@may_fail(410)
def batch_results_csv(batch_id: int) -> Table:
    """One line for each image; `p_` before a class is its probability."""
    return table.sent(service.get(batch_id))


@bp.get("/<int:batch_id>/results.json")
@allow("researcher")
@may_fail(410)
@asks(sent.ResultArguments)
def batch_results_json(asked: sent.ResultArguments, batch_id: int) -> Page[answers.Prediction]:
    """The predictions in the order of the archive, page by page, in the shape of `/predict`."""
    found = list(service.results(service.get(batch_id), asked.cursor, asked.limit + 1))
    following = str(asked.cursor + asked.limit) if len(found) > asked.limit else None
    return {"items": cast(list[answers.Prediction], found[: asked.limit]), "next": following}

"""Batch predictions in the browser: the list, starting one, reading its results."""

from typing import Any, BinaryIO, cast

from flask import Blueprint, Response, current_app, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response as BaseResponse

from webapp import cancelling
from webapp.batches import service, table
from webapp.errors import AppError, Invalid
from webapp.models import FINAL_STATUSES, BatchPrediction, ModelVersion, db
from webapp.pagination import page_of
from webapp.registry import service as registry
from webapp.security import actor, allow

bp = Blueprint("batches", __name__, url_prefix="/batches")
Page = str | BaseResponse | tuple[str, int]
SHOWN = 100


@bp.get("/")
@allow("researcher")
def index() -> str:
    return _index_page()


def _index_page(errors: dict[str, str] | None = None, problem: str | None = None) -> str:
    settings = current_app.extensions["settings"]
    return render_template(
        "batches/index.html",
        page=page_of(select(BatchPrediction), BatchPrediction, cursor=request.args.get("cursor")),
        versions=list(db.session.scalars(select(ModelVersion).order_by(ModelVersion.id.desc()).limit(100))),
        active=registry.active(),
        errors=errors or {},
        problem=problem,
        max_upload_mb=settings.max_upload_mb,
        batch_days=settings.batch_days,
    )


@bp.post("/")
@allow("researcher")
def create() -> Page:
    try:
        batch = _create()
    except AppError as error:
        return _index_page(error.fields if isinstance(error, Invalid) else {}, str(error)), error.status
    return redirect(url_for("batches.detail", batch_id=batch.id))


def _create() -> BatchPrediction:
    name, user, version_id = request.form.get("name", ""), actor().user, _version_id(request.form.get("version", ""))
    if request.form.get("upload"):
        return service.create_from_upload(request.form["upload"], name, version_id, user)
    archive = request.files.get("archive")
    if archive is None or not archive.filename:
        raise Invalid("There is no file. Choose an archive of images.", {"archive": "choose a file"})
    return service.create_from_archive(cast(BinaryIO, archive.stream), name, version_id, user)


def _version_id(typed: str) -> int | None:
    """None for the active version, which an empty field asks for, and nothing else. Raises Invalid."""
    if not typed:
        return None
    if not (typed.isascii() and typed.isdecimal() and len(typed) < 20):
        raise Invalid(f"'{typed[:20]}' is no number of a version. Choose one of the list.", {"version": "choose one"})
    return int(typed)


@bp.get("/<int:batch_id>")
@allow("researcher")
def detail(batch_id: int) -> str:
    return render_template("batches/detail.html", **_facts(service.get(batch_id)))


@bp.get("/<int:batch_id>/live")
@allow("researcher")
def live(batch_id: int) -> str:
    return render_template("batches/_live.html", **_facts(service.get(batch_id)))


def _facts(batch: BatchPrediction) -> dict[str, Any]:
    has_results = batch.status == "succeeded" and batch.results_sha256 is not None
    return {
        "batch": batch,
        "is_final": batch.status in FINAL_STATUSES,
        "has_results": has_results,
        "results": list(service.results(batch, limit=SHOWN)) if has_results else [],
        "batch_days": current_app.extensions["settings"].batch_days,
    }


@bp.post("/<int:batch_id>/cancel")
@allow("researcher")
def cancel(batch_id: int) -> BaseResponse:
    cancelling.cancel(service.get(batch_id), actor().user)
    flash("Cancelled: the job stops at its next step.", "success")
    return redirect(url_for("batches.detail", batch_id=batch_id))


@bp.get("/<int:batch_id>/results.csv")
@allow("researcher")
def csv(batch_id: int) -> Response:
    return table.sent(service.get(batch_id))

"""Data sets: the list, bringing one in, looking at its images."""

from typing import Any, BinaryIO, cast

from flask import Blueprint, Response, current_app, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response as BaseResponse

from ml.config import SPLITS
from ml.ingest_options import IngestOptions
from ml.sources import SOURCES
from webapp import forms
from webapp.datasets import contents, review, service, versions
from webapp.errors import AppError, Invalid
from webapp.models import Dataset
from webapp.pagination import page_of
from webapp.registry import looks
from webapp.security import actor, allow

bp = Blueprint("datasets", __name__, url_prefix="/datasets")
Page = str | BaseResponse | tuple[str, int]


@bp.get("/")
@allow("viewer")
def index() -> str:
    page = page_of(select(Dataset), Dataset, cursor=request.args.get("cursor"))
    return render_template("datasets/index.html", page=page)


@bp.get("/new")
@allow("researcher")
def new() -> str:
    return _form_page({}, {})


def _form_page(values: dict[str, Any], errors: dict[str, str], problem: str | None = None) -> str:
    settings = current_app.extensions["settings"]
    return render_template(
        "datasets/new.html",
        groups=forms.groups_of(IngestOptions, "options", values, errors),
        problem=problem,
        errors=errors,
        typed=request.form,
        sources=SOURCES,
        max_upload_mb=settings.max_upload_mb,
    )


@bp.post("/new")
@allow("researcher")
def create() -> Page:
    """A data set from the uploaded archive, or from a well-known name where there is no archive."""
    values = forms.typed(IngestOptions, "options", request.form)
    try:
        dataset = _create(forms.parse(IngestOptions, "options", values))
    except AppError as error:
        fields = error.fields if isinstance(error, Invalid) else {}
        return _form_page(values, fields, str(error)), error.status
    return redirect(url_for("datasets.detail", dataset_id=dataset.id))


def _create(options: IngestOptions) -> Dataset:
    name, user = request.form.get("name", ""), actor().user
    if request.form.get("source"):
        return service.create_from_source(request.form["source"], name, options, user)
    if request.form.get("upload"):
        return service.create_from_upload(request.form["upload"], name, options, user, needs_review=True)
    archive = request.files.get("archive")
    if archive is None or not archive.filename:
        raise Invalid("There is no file. Choose an archive or a published data set.", {"archive": "choose a file"})
    name = name or _stem(archive.filename)
    return service.create_from_archive(cast(BinaryIO, archive.stream), name, options, user, needs_review=True)


def _stem(filename: str) -> str:
    return filename.replace("\\", "/").rsplit("/", 1)[-1].split(".")[0]


@bp.get("/<int:dataset_id>")
@allow("viewer")
def detail(dataset_id: int) -> str:
    return render_template("datasets/detail.html", **_facts(service.get(dataset_id)))


@bp.get("/<int:dataset_id>/live")
@allow("viewer")
def live(dataset_id: int) -> str | Response:
    """The progress of the ingest; a page that waits loads itself anew when it has ended."""
    dataset = service.get(dataset_id)
    if dataset.status == "pending":
        return render_template("datasets/_pending.html", dataset=dataset)
    return Response(headers={"HX-Redirect": url_for("datasets.detail", dataset_id=dataset_id)})


def _facts(dataset: Dataset) -> dict[str, Any]:
    if dataset.status == "review":
        return review.facts(dataset)
    is_ready = dataset.status == "ready"
    sample = contents.sample(dataset) if is_ready else {}
    return {
        "dataset": dataset,
        "sample": sample,
        "dependants": service.dependants(dataset),
        "splits": SPLITS,
        "looks": looks.ledger_of(dataset),
        "line": versions.line_of(dataset),
    }


@bp.post("/<int:dataset_id>/delete")
@allow("researcher")
def delete(dataset_id: int) -> BaseResponse:
    dataset = service.get(dataset_id)
    name = dataset.name
    service.delete(dataset, actor().user)
    flash(f"The data set “{name}” is deleted.", "success")
    return redirect(url_for("datasets.index"))

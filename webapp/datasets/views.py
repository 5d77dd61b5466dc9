"""Data sets: the list, bringing one in, looking at its images."""

from typing import Any, BinaryIO, cast

from flask import Blueprint, Response, current_app, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response as BaseResponse

from ml import images
from ml.config import SPLITS, IngestOptions
from ml.sources import SOURCES
from webapp import forms
from webapp.datasets import contents, service
from webapp.errors import AppError, Invalid
from webapp.models import Dataset
from webapp.pagination import page_of
from webapp.security import actor, allow

bp = Blueprint("datasets", __name__, url_prefix="/datasets")
Page = str | BaseResponse | tuple[str, int]
IMAGES_A_PAGE = 60
THUMBNAIL_PX = 192


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
    archive = request.files.get("archive")
    if archive is None or not archive.filename:
        raise Invalid("There is no file. Choose an archive or a published data set.", {"archive": "choose a file"})
    return service.create_from_archive(cast(BinaryIO, archive.stream), name or _stem(archive.filename), options, user)


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
    is_ready = dataset.status == "ready"
    sample = contents.sample(dataset) if is_ready else {}
    return {"dataset": dataset, "sample": sample, "dependants": service.dependants(dataset), "splits": SPLITS}


@bp.post("/<int:dataset_id>/delete")
@allow("researcher")
def delete(dataset_id: int) -> BaseResponse:
    dataset = service.get(dataset_id)
    name = dataset.name
    service.delete(dataset, actor().user)
    flash(f"The data set “{name}” is deleted.", "success")
    return redirect(url_for("datasets.index"))


@bp.get("/<int:dataset_id>/images")
@allow("viewer")
def gallery(dataset_id: int) -> str:
    dataset, label, split = service.get(dataset_id), request.args.get("label", ""), request.args.get("split", "")
    start = max(0, request.args.get("start", 0, type=int))
    rows = contents.rows_of(dataset, start, label=label, split=split)
    shown = [row for row, _ in zip(rows, range(IMAGES_A_PAGE + 1), strict=False)]
    following = shown[IMAGES_A_PAGE][0] if len(shown) > IMAGES_A_PAGE else None
    return render_template(
        "datasets/gallery.html",
        dataset=dataset,
        shown=shown[:IMAGES_A_PAGE],
        following=following,
        start=start,
        label=label,
        split=split,
        splits=SPLITS,
        total=_total(dataset, label, split),
    )


def _total(dataset: Dataset, label: str, split: str) -> int:
    return sum(
        entry[name]
        for entry in dataset.classes
        for name in SPLITS
        if label in ("", entry["name"]) and split in ("", name)
    )


@bp.get("/<int:dataset_id>/images/<int:number>.png")
@allow("viewer")
def image(dataset_id: int, number: int) -> Response:
    """The image as the platform keeps it."""
    return _unchanging(contents.image_bytes(service.get(dataset_id), number), "image/png")


@bp.get("/<int:dataset_id>/thumbnails/<int:number>")
@allow("viewer")
def thumbnail(dataset_id: int, number: int) -> Response:
    """The image, no larger than a page shows it."""
    dataset = service.get(dataset_id)
    png = contents.image_bytes(dataset, number)
    row = contents.manifest_of(dataset).rows[number]
    if max(row.width, row.height) <= THUMBNAIL_PX:
        return _unchanging(png, "image/png")
    return _unchanging(images.thumbnail(images.decode(png), THUMBNAIL_PX), "image/jpeg")


def _unchanging(data: bytes, mimetype: str) -> Response:
    """A data set never changes, but a new one may get the number of a deleted one: addresses carry its hash."""
    response = Response(data, mimetype=mimetype)
    response.cache_control.private = True
    response.cache_control.max_age = 31_536_000 if request.args.get("v") else 0
    response.cache_control.immutable = "v" in request.args
    return response

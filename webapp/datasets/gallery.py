"""The images of a data set in the browser: the grid, one image with its kin, the pixels."""

import itertools
from typing import Any

from flask import Blueprint, Response, render_template, request

from ml import images
from ml.config import SPLITS
from webapp.datasets import contents, findings, opinions, service
from webapp.datasets.contents import Filter
from webapp.models import MAX_ID, Dataset
from webapp.security import allow

bp = Blueprint("gallery", __name__, url_prefix="/datasets")
IMAGES_A_PAGE = 60
THUMBNAIL_PX = 192
KIN_SHOWN = 24


def wanted() -> Filter:
    """The filter in the address; what is empty or no number is not asked for."""
    words = {name: request.args.get(name) or None for name in ("label", "split", "group", "issue")}
    quarantined = {"1": True, "0": False}.get(request.args.get("quarantined", ""))
    return Filter(**words, cluster=request.args.get("cluster", type=int), quarantined=quarantined)


@bp.get("/<int:dataset_id>/images")
@allow("viewer")
def index(dataset_id: int) -> str:
    dataset, chosen = service.get(dataset_id), wanted()
    start = min(max(0, request.args.get("start", 0, type=int)), MAX_ID)
    shown = list(itertools.islice(contents.rows_of(dataset, start, **vars(chosen)), IMAGES_A_PAGE + 1))
    return render_template(
        "datasets/gallery.html",
        dataset=dataset,
        shown=shown[:IMAGES_A_PAGE],
        following=shown[IMAGES_A_PAGE][0] if len(shown) > IMAGES_A_PAGE else None,
        start=start,
        chosen=chosen,
        splits=SPLITS,
        issues=[entry["kind"] for entry in dataset.report.get("issues", [])],
        total=sum(1 for _ in contents.rows_of(dataset, 0, **vars(chosen))),
    )


@bp.get("/<int:dataset_id>/images/<int:number>")
@allow("viewer")
def image_page(dataset_id: int, number: int) -> str:
    dataset, chosen = service.get(dataset_id), wanted()
    row = contents.row_of(dataset, number)
    return render_template(
        "datasets/image.html",
        dataset=dataset,
        number=number,
        row=row,
        chosen=chosen,
        sentences=findings.sentences(row),
        siblings=_kin(dataset, number, Filter(group=row.group)) if row.group else [],
        copies=_kin(dataset, number, Filter(cluster=row.cluster)) if row.cluster is not None else [],
        opinions=opinions.of_image(dataset, number, row),
        **_neighbours(dataset, number, chosen),
    )


def _kin(dataset: Dataset, number: int, same: Filter) -> list[Any]:
    """The first images that share what `same` asks for, without the image itself."""
    others = (entry for entry in contents.rows_of(dataset, 0, **vars(same)) if entry[0] != number)
    return list(itertools.islice(others, KIN_SHOWN))


def _neighbours(dataset: Dataset, number: int, chosen: Filter) -> dict[str, int | None]:
    rows = contents.manifest_of(dataset).rows
    before = (other for other in range(number - 1, -1, -1) if chosen.fits(rows[other]))
    after = (other for other in range(number + 1, len(rows)) if chosen.fits(rows[other]))
    return {"previous": next(before, None), "following": next(after, None)}


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
    kept = contents.thumbnail_bytes(dataset, number)
    if kept is not None:
        return _unchanging(kept, "image/jpeg")
    png, row = contents.image_bytes(dataset, number), contents.row_of(dataset, number)
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

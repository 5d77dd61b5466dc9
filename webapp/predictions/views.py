"""Trying an image in the browser; client systems use the API."""

import base64
import io
import time

from flask import Blueprint, g, render_template, request

from ml.errors import MlError
from webapp.errors import AppError
from webapp.predictions import service, turns
from webapp.predictions.active import active_model
from webapp.predictions.rounds import rounds
from webapp.security import actor, allow

bp = Blueprint("predictions", __name__, url_prefix="/try")
PICTURE_PX = 768


@bp.get("/")
@allow("viewer")
def form() -> str:
    return render_template("predictions/try.html", model=active_model().current(), fault=active_model().fault)


@bp.post("/")
@allow("viewer")
def answer() -> tuple[str, int, dict[str, str]]:
    """The answer, or in words why there is none: alone for htmx, else within its page."""
    loaded, found, problem, status, headers = active_model().current(), None, None, 200, {}
    upload, explains = _upload(), bool(loaded and loaded.predictor.can_explain)
    try:
        with turns.taken(request.environ):
            loaded, (found,) = service.predict([upload], actor(), explains)
    except AppError as error:
        problem, status = str(error), error.status
        headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else {}
    except MlError as error:
        problem, status = str(error), 422
    template = "predictions/_answer.html" if request.headers.get("HX-Request") else "predictions/try.html"
    page = render_template(
        template,
        model=loaded,
        answer=found.answer if found else None,
        picture=_data_url("image/jpeg", _picture(upload)) if found and found.heatmap_png else None,
        heatmap=_data_url("image/png", found.heatmap_png) if found and found.heatmap_png else None,
        problem=problem,
        latency_ms=1000 * (time.perf_counter() - g.started_s),
    )
    return page, status, headers


def _upload() -> service.Upload:
    """The image; one that was not chosen is an empty one, which the decoder names so."""
    image = request.files.get("image")
    return service.Upload(image.filename, image.stream) if image else service.Upload(None, io.BytesIO())


def _picture(upload: service.Upload) -> bytes:
    """The image as the model met it, upright and without alpha, for a page."""
    upload.stream.seek(0)
    return rounds().thumbnail(upload.stream.read(), PICTURE_PX)


def _data_url(mimetype: str, data: bytes) -> str:
    return f"data:{mimetype};base64,{base64.b64encode(data).decode()}"

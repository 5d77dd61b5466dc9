"""Studies: the list, and watching one. A new one begins on the form of a new experiment."""

from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload
from werkzeug.wrappers import Response as BaseResponse

from ml import label_errors
from ml.errors import BadArtifact
from webapp.errors import Conflict
from webapp.models import Study
from webapp.pagination import Window, page_of
from webapp.security import actor, allow
from webapp.storage import DamagedObject, MissingObject
from webapp.studies import pooling, results, service

bp = Blueprint("studies", __name__, url_prefix="/studies")
IMAGES_A_PAGE = 60


@bp.get("/")
@allow("viewer")
def index() -> str:
    statement = select(Study).options(joinedload(Study.dataset), selectinload(Study.members))
    page = page_of(statement, Study, cursor=request.args.get("cursor"))
    statuses = {study.id: service.status(study) for study in page.items}
    return render_template("studies/index.html", page=page, statuses=statuses)


@bp.get("/<int:study_id>")
@allow("viewer")
def detail(study_id: int) -> str:
    return render_template("studies/detail.html", **_live(service.get(study_id)))


@bp.get("/<int:study_id>/live")
@allow("viewer")
def live(study_id: int) -> str:
    return render_template("studies/_live.html", **_live(service.get(study_id)))


def _live(study: Study) -> dict[str, Any]:
    is_final = service.is_final(study)
    is_pooling = study.kind == "folds" and study.pooled is None and service.status(study) == "succeeded"
    return {
        "study": study,
        "status": service.status(study),
        "is_final": is_final,
        "is_live": not is_final or is_pooling,
        "is_pooling": is_pooling,
        "results": results.of(study),
    }


@bp.get("/<int:study_id>/label-errors")
@allow("viewer")
def doubtful_labels(study_id: int) -> str:
    """Of all images, each by the network that did not learn from it. Raises Conflict where they are not at hand."""
    study = service.get(study_id)
    if study.pooled is None:
        raise Conflict(f"Study {study.id} has no answers on all images: {_why_not_pooled(study)}")
    try:
        pooled = pooling.answers_of(study)
    except (BadArtifact, DamagedObject, MissingObject) as error:
        raise Conflict(f"The answers of study {study.id} are not in the store. Begin the study again.") from error
    doubts = label_errors.suspects(pooled.truth_N, pooled.probabilities_NK)
    page = Window.asked_for(len(doubts), IMAGES_A_PAGE)
    return render_template("studies/label_errors.html", study=study, pooled=pooled, doubts=doubts, page=page)


def _why_not_pooled(study: Study) -> str:
    if study.kind == "folds":
        return "these are there once each of its folds has ended well."
    return "its seeds judge the test images alone. The evaluations of each version list their doubtful labels."


@bp.post("/<int:study_id>/cancel")
@allow("researcher")
def cancel(study_id: int) -> BaseResponse:
    service.cancel(service.get(study_id), actor().user)
    return redirect(url_for("studies.detail", study_id=study_id))

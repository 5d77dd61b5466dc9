"""Studies: the list, and watching one. A new one begins on the form of a new experiment."""

from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload
from werkzeug.wrappers import Response as BaseResponse

from webapp.models import Study
from webapp.pagination import page_of
from webapp.security import actor, allow
from webapp.studies import results, service

bp = Blueprint("studies", __name__, url_prefix="/studies")


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


@bp.post("/<int:study_id>/cancel")
@allow("researcher")
def cancel(study_id: int) -> BaseResponse:
    service.cancel(service.get(study_id), actor().user)
    return redirect(url_for("studies.detail", study_id=study_id))

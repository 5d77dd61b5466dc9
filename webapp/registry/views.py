"""Model versions: how each scores, which one serves, and who decided so."""

from typing import Any, cast

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response as BaseResponse

from ml.config import Variant
from webapp.errors import Invalid
from webapp.models import EVALUATED_SPLITS, FINAL_STATUSES, ModelVersion
from webapp.pagination import page_of
from webapp.registry import comparison, files, intended_use, looks, prevalences, report, reruns, service
from webapp.security import actor, allow

bp = Blueprint("registry", __name__, url_prefix="/versions")
Page = str | BaseResponse | tuple[str, int]


@bp.get("/")
@allow("viewer")
def index() -> str:
    page = page_of(select(ModelVersion), ModelVersion, cursor=request.args.get("cursor"))
    scores = {version.id: service.test_evaluation(version) for version in page.items}
    return render_template(
        "registry/index.html", page=page, scores=scores, active=service.active(), most_compared=comparison.MOST
    )


@bp.get("/<int:version_id>")
@allow("viewer")
def detail(version_id: int) -> str:
    return _detail_page(service.get(version_id))


def _detail_page(version: ModelVersion, errors: dict[str, str] | None = None) -> str:
    evaluation = service.test_evaluation(version)
    metrics = service.test_metrics(version)
    return render_template(
        "registry/detail.html",
        version=version,
        card=version.card,
        active=service.active(),
        errors=errors or {},
        variants=service.variants(version),
        evaluation=evaluation,
        metrics=metrics,
        predictive=_predictive(metrics),
        looks=looks.ledger_of(evaluation.dataset) if evaluation else None,
        evaluations=service.evaluations(version),
        rerun=reruns.of(version),
        fitting=service.fitting_datasets(version),
        splits=EVALUATED_SPLITS,
        longest_use=intended_use.LONGEST,
    )


def _predictive(metrics: dict[str, Any] | None) -> dict[str, Any]:
    """The query's `prevalence`: its text, and the predictive values there or what is wrong with it."""
    text = request.args.get("prevalence", "").strip()[:40]
    asked: dict[str, Any] = {"text": text, "error": None, "found": None}
    if not text or not metrics:
        return asked
    try:
        prevalence = prevalences.parse(text)
        asked["found"] = prevalences.at(metrics, prevalence) if prevalence is not None else None
    except Invalid as error:
        asked["error"] = str(error)
    return asked


@bp.get("/<int:version_id>/files/<name>")
@allow("viewer")
def file(version_id: int, name: str) -> Response:
    return files.send(version_id, name)


@bp.get("/<int:version_id>/report")
@allow("viewer")
def printed(version_id: int) -> str:
    """With the predictive values at the query's `prevalence`, where it names one."""
    return report.html(version_id, prevalences.parse(request.args.get("prevalence", "")))


@bp.post("/<int:version_id>/activate")
@allow("researcher")
def activate(version_id: int) -> Page:
    version, variant = service.get(version_id), cast(Variant, request.form.get("variant", "float32"))
    try:
        service.activate(version, request.form.get("reason", ""), actor().user, variant)
    except Invalid as error:
        return _detail_page(version, error.fields), error.status
    flash(f"Version {version.id} is active: within two seconds it gives every answer.", "success")
    return redirect(url_for("registry.detail", version_id=version_id))


@bp.post("/<int:version_id>/intended-use")
@allow("researcher")
def write_intended_use(version_id: int) -> Page:
    version = service.get(version_id)
    try:
        intended_use.write(version, request.form.get("intended_use", ""), actor().user)
    except Invalid as error:
        return _detail_page(version, error.fields), error.status
    return redirect(url_for("registry.detail", version_id=version_id, _anchor="use"))


@bp.get("/activations")
@allow("viewer")
def activations() -> str:
    return _activations_page()


def _activations_page(errors: dict[str, str] | None = None) -> str:
    return render_template(
        "registry/activations.html", history=service.history(), active=service.active(), errors=errors or {}
    )


@bp.post("/rollback")
@allow("researcher")
def rollback() -> Page:
    try:
        activation = service.rollback(request.form.get("reason", ""), actor().user)
    except Invalid as error:
        return _activations_page(error.fields), error.status
    flash(f"Rolled back: version {activation.version_id} is active again.", "success")
    return redirect(url_for("registry.activations"))


@bp.post("/<int:version_id>/evaluations")
@allow("researcher")
def evaluate(version_id: int) -> BaseResponse:
    dataset_id = request.form.get("dataset_id", 0, type=int)
    split, is_stressed = request.form.get("split", ""), request.form.get("is_stressed") == "on"
    evaluation = service.start_evaluation(version_id, dataset_id, split, actor().user, is_stressed)
    return redirect(url_for("registry.evaluation", evaluation_id=evaluation.id))


@bp.get("/evaluations/<int:evaluation_id>")
@allow("viewer")
def evaluation(evaluation_id: int) -> str:
    return render_template("registry/evaluation.html", **_evaluated(evaluation_id))


@bp.get("/evaluations/<int:evaluation_id>/live")
@allow("viewer")
def live_evaluation(evaluation_id: int) -> str:
    return render_template("registry/_evaluation.html", **_evaluated(evaluation_id))


def _evaluated(evaluation_id: int) -> dict[str, Any]:
    row = service.get_evaluation(evaluation_id)
    return {
        "evaluation": row,
        "version": row.version,
        "metrics": row.metrics,
        "predictive": _predictive(row.metrics),
        "is_final": row.status in FINAL_STATUSES,
        "looks": looks.ledger_of(row.dataset),
    }

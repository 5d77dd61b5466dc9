"""Pages that look behind the scores: versions side by side, single images, subgroups, doubtful labels."""

from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from ml import intervals, label_errors, subgroups
from webapp.errors import Invalid
from webapp.models import Epoch, ModelVersion
from webapp.pagination import Window
from webapp.registry import answers, breakdown, comparison, looks, service
from webapp.security import allow

bp = Blueprint("analysis", __name__, url_prefix="/versions")
IMAGES_A_PAGE = 60
DISAGREEMENTS_A_PAGE = 24
CURVES = {
    "train_loss": "Training loss",
    "validation_loss": "Validation loss",
    "validation_accuracy": "Validation accuracy",
    "validation_auc": "Validation AUC",
}
SORTS = {
    "number": "as they lie in the data set",
    "confidence": "surest first",
    "loss": "largest loss first",
}


@bp.get("/compare")
@allow("viewer")
def compare() -> str | BaseResponse:
    """The ticked versions side by side; who ticked too few or too many is led back to the list."""
    try:
        versions = sorted(comparison.chosen(request.args.getlist("version")), key=lambda version: version.id)
    except Invalid as error:
        flash(str(error), "warning")
        return redirect(url_for("registry.index"))
    compared = comparison.compare(versions, request.args.get("dataset_id", type=int), request.args.get("split"))
    return render_template(
        "registry/compare.html",
        compared=compared,
        heads=[f"Version {version.id}" for version in versions],
        curves=_curves(versions),
        curve_titles=CURVES,
        looks=looks.ledger_of(compared.ground.dataset) if compared.ground else None,
        page=Window.asked_for(len(compared.shown.disagreements) if compared.shown else 0, DISAGREEMENTS_A_PAGE),
    )


def _curves(versions: list[ModelVersion]) -> dict[str, dict[str, Any]]:
    """What each chart is drawn from: a line for each version; epochs that one did not reach are left open."""
    last = max((epoch.number for version in versions for epoch in version.experiment.epochs), default=0)
    numbers = list(range(1, last + 1))
    return {
        column: {
            "kind": "curves",
            "epochs": numbers,
            "lines": [
                {"name": f"Version {version.id}", "values": _line(version.experiment.epochs, column, numbers)}
                for version in versions
            ],
        }
        for column in CURVES
    }


def _line(epochs: list[Epoch], column: str, numbers: list[int]) -> list[float | None]:
    value = {epoch.number: getattr(epoch, column) for epoch in epochs}
    return [value.get(number) for number in numbers]


@bp.get("/<int:version_id>/evaluations/<int:evaluation_id>/images")
@allow("viewer")
def images(version_id: int, evaluation_id: int) -> str:
    """The images of an evaluation, those of one cell of its confusion matrix where the address names it."""
    evaluation = service.evaluation_of(version_id, evaluation_id)
    answered = answers.of(evaluation)
    truth, predicted = (_label(answered, name) for name in ("truth", "predicted"))
    sort = request.args.get("sort") or "confidence"
    if sort not in SORTS:
        raise Invalid(f"sort is '{sort[:20]}'; it must be one of {', '.join(SORTS)}.", {"sort": "no such order"})
    chosen = answered.images_in(truth, predicted, sort)
    return render_template(
        "registry/images.html",
        evaluation=evaluation,
        answered=answered,
        chosen=chosen,
        page=Window.asked_for(len(chosen), IMAGES_A_PAGE),
        given={name: request.args[name] for name in ("truth", "predicted") if request.args.get(name)},
        sort=sort,
        sorts=SORTS,
    )


def _label(answered: answers.Answered, name: str) -> int | None:
    """The class that the address names, as its column; None where it names none. Raises Invalid."""
    label = request.args.get(name)
    if not label:
        return None
    if label not in answered.classes:
        known = ", ".join(answered.classes[:20])
        raise Invalid(f"This evaluation has no class '{label[:100]}'; it has {known}.", {name: "no such class"})
    return answered.classes.index(label)


@bp.get("/<int:version_id>/evaluations/<int:evaluation_id>/subgroups")
@allow("viewer")
def by_subgroup(version_id: int, evaluation_id: int) -> str:
    evaluation = service.evaluation_of(version_id, evaluation_id)
    answered = answers.of(evaluation)
    columns = subgroups.columns(answered.rows)
    by = request.args.get("by") or next(iter(columns), "")
    if by and by not in columns:
        known = ", ".join(columns) or "none"
        raise Invalid(
            f"There is no column '{by[:100]}' to tell these images apart by; there is {known}.",
            {"by": "no such column"},
        )
    groups = [row.group for row in answered.rows]
    asked = (answered.truth_N, answered.decided_N, answered.probabilities_NK, answered.positive, groups)
    return render_template(
        "registry/subgroups.html",
        evaluation=evaluation,
        columns={name: breakdown.title_of(name) for name in columns},
        left_out={breakdown.title_of(name): reason for name, reason in subgroups.left_out(answered.rows).items()},
        by=by,
        most=subgroups.MAX_VALUES,
        draws=intervals.REPLICATES,
        is_binary=answered.positive is not None,
        scores=subgroups.scores(columns[by], *asked) if by else [],
    )


@bp.get("/<int:version_id>/evaluations/<int:evaluation_id>/label-errors")
@allow("viewer")
def doubtful_labels(version_id: int, evaluation_id: int) -> str:
    evaluation = service.evaluation_of(version_id, evaluation_id)
    answered = answers.of(evaluation)
    doubts = label_errors.suspects(answered.truth_N, answered.probabilities_NK)
    return render_template(
        "registry/label_errors.html",
        evaluation=evaluation,
        answered=answered,
        doubts=doubts,
        page=Window.asked_for(len(doubts), IMAGES_A_PAGE),
        is_learned_N=answers.is_learned(evaluation.version, answered.rows),
    )

"""Pages that look closely at an evaluation: one image with its map and its neighbours, and the robustness table."""

from typing import Any

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from ml.robustness import STRENGTHS
from webapp.errors import NotFound
from webapp.registry import answers, evidence, service
from webapp.security import actor, allow

bp = Blueprint("inspection", __name__, url_prefix="/versions")
LARGE_PX, SMALL_PX = 1024, 192
CHANGES = {
    "brightness": "Brightness × {:g}",
    "blur": "Blur, radius {:.1%} of the side",
    "noise": "Noise, {:.0%} of white",
    "jpeg": "JPEG, quality {:g}",
    "rotation": "Turned by {:g}°",
}


@bp.get("/<int:version_id>/evaluations/<int:evaluation_id>/images/<int:number>")
@allow("viewer")
def image(version_id: int, evaluation_id: int, number: int) -> str:
    """One image: what was said, where the version looked, the training images most like it."""
    evaluation = service.evaluation_of(version_id, evaluation_id)
    answered = answers.of(evaluation)
    places = (answered.number_N == number).nonzero()[0]
    if not len(places):
        raise NotFound(f"Evaluation {evaluation_id} has no image {number}: it is none of its split, or in quarantine.")
    kept = evidence.of(evaluation)
    return render_template(
        "registry/image.html",
        evaluation=evaluation,
        answered=answered,
        place=int(places[0]),
        number=number,
        row=answered.rows[places[0]],
        has_map=kept is not None,
        has_neighbours=kept is not None and kept.nearest_Nk.shape[1] > 0,
        neighbours=evidence.neighbours(evaluation, number),
        trained_on=evaluation.version.experiment.dataset,
    )


@bp.get("/<int:version_id>/evaluations/<int:evaluation_id>/maps/<int:number>.png")
@allow("viewer")
def overlay(version_id: int, evaluation_id: int, number: int) -> Response:
    """The map alone; it never changes, and its address carries the hash of what it is made from."""
    evaluation = service.evaluation_of(version_id, evaluation_id)
    side_px = SMALL_PX if "small" in request.args else LARGE_PX
    response = Response(evidence.overlay_png(evaluation, number, side_px), mimetype="image/png")
    response.cache_control.private = True
    response.cache_control.max_age = 31_536_000 if request.args.get("v") else 0
    response.cache_control.immutable = "v" in request.args
    return response


@bp.get("/<int:version_id>/evaluations/<int:evaluation_id>/robustness")
@allow("viewer")
def robustness(version_id: int, evaluation_id: int) -> str:
    evaluation = service.evaluation_of(version_id, evaluation_id)
    ways = sum(map(len, STRENGTHS.values()))
    return render_template("registry/robustness.html", evaluation=evaluation, found=evaluation.robustness, ways=ways)


@bp.post("/<int:version_id>/evaluations/<int:evaluation_id>/robustness")
@allow("researcher")
def measure(version_id: int, evaluation_id: int) -> BaseResponse:
    """Scores the same images again, this time changed as well."""
    same = service.evaluation_of(version_id, evaluation_id)
    made = service.start_evaluation(version_id, same.dataset_id, same.split, actor().user, is_stressed=True)
    return redirect(url_for("registry.evaluation", evaluation_id=made.id))


@bp.app_template_filter()
def change(outcome: dict[str, Any]) -> str:
    """What was done to the images of an outcome, in words."""
    words = CHANGES[outcome["change"]] if outcome["strength"] is not None else "Unchanged"
    return words.format(outcome["strength"]).replace("%", "\u202f%")

"""Pages that make the next version of a data set: deciding the quarantine, leaving images out, splitting anew."""

from flask import flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from ml.ingest_options import SplitShares
from ml.revision import Change
from webapp import forms
from webapp.datasets import service, versions
from webapp.datasets.views import bp
from webapp.errors import Invalid
from webapp.models import Dataset
from webapp.security import actor, allow

PICTURES_SHOWN = 100


def _changed(dataset: Dataset, change: Change) -> BaseResponse:
    """Makes the version and goes to its page."""
    made = versions.change(dataset, change, actor().user)
    flash(f"Version {made.number} of “{made.name}” is being made.", "success")
    return redirect(url_for("datasets.detail", dataset_id=made.id))


@bp.get("/<int:dataset_id>/quarantine")
@allow("viewer")
def quarantine(dataset_id: int) -> str:
    """Each contradiction side by side, a hundred on a page; what is not decided waits on in the next version."""
    dataset = service.get_ready(dataset_id)
    every = versions.contradictions(dataset)
    pages = max(1, -(-len(every) // PICTURES_SHOWN))
    page = min(max(request.args.get("page", 1, type=int), 1), pages)
    return render_template(
        "datasets/quarantine.html",
        dataset=dataset,
        clusters=every[(page - 1) * PICTURES_SHOWN : page * PICTURES_SHOWN],
        total=len(every),
        page=page,
        pages=pages,
    )


@bp.post("/<int:dataset_id>/quarantine")
@allow("researcher")
def decide(dataset_id: int) -> BaseResponse:
    """Takes the decisions: `decision.NUMBER` is empty (later), `out`, or the label that is right."""
    dataset = service.get_ready(dataset_id)
    excluded, kept, relabelled = [], [], {}
    for number, row in (pair for cluster in versions.contradictions(dataset) for pair in cluster):
        decision = request.form.get(f"decision.{number}", "")
        if decision == "out":
            excluded.append(row.path)
        elif decision == f"as {row.label}":
            kept.append(row.path)
        elif decision.startswith("as "):
            relabelled[row.path] = decision.removeprefix("as ")
    if not (excluded or kept or relabelled):
        raise Invalid("Nothing was decided. Choose a label, or leave an image out, and send the page again.")
    return _changed(dataset, Change(excluded=excluded, kept=kept, relabelled=relabelled))


@bp.post("/<int:dataset_id>/exclude")
@allow("researcher")
def exclude(dataset_id: int) -> BaseResponse:
    dataset = service.get_ready(dataset_id)
    typed = request.form.getlist("number")
    numbers = [int(text) for text in typed if text.isascii() and text.isdecimal() and len(text) < 10]
    return _changed(dataset, Change(excluded=versions.paths_of(dataset, numbers)))


@bp.post("/<int:dataset_id>/split")
@allow("researcher")
def split(dataset_id: int) -> BaseResponse:
    """A new split, by the shares and the seed of the form."""
    shares = forms.parse(SplitShares, "shares", forms.typed(SplitShares, "shares", request.form))
    seed = request.form.get("seed", "0")
    if not (seed.isascii() and seed.isdecimal() and len(seed) < 10):
        raise Invalid(
            f"The seed is '{seed[:20]}'; it must be a whole number below a milliard.", {"seed": "a whole number"}
        )
    return _changed(service.get_ready(dataset_id), Change(shares=shares, seed=int(seed)))


@bp.post("/<int:dataset_id>/repair")
@allow("researcher")
def repair(dataset_id: int) -> BaseResponse:
    return _changed(service.get_ready(dataset_id), Change(repair=True))


@bp.get("/<int:dataset_id>/remove-group")
@allow("researcher")
def remove_group(dataset_id: int) -> str:
    """What taking the group out would touch."""
    dataset, group = service.get_ready(dataset_id), request.args.get("group", "")
    plan = versions.plan_removal(dataset, group)
    return render_template("datasets/remove_group.html", dataset=dataset, group=group, plan=plan)


@bp.post("/<int:dataset_id>/remove-group")
@allow("researcher")
def remove_group_everywhere(dataset_id: int) -> BaseResponse:
    dataset, group = service.get_ready(dataset_id), request.form.get("group", "")
    made = versions.remove_group(dataset, group, actor().user)
    flash(
        f"New versions without the group are being made: {len(made)}. Delete the older ones to purge its images.",
        "success",
    )
    return redirect(url_for("datasets.detail", dataset_id=made[0].id if made else dataset.id))

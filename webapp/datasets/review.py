"""The review: what an archive holds and what is proposed, for a person to confirm or correct before it is read."""

from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from ml import preview
from ml.errors import BadConfig
from ml.ingest_options import IngestOptions
from ml.patterns import Pattern
from webapp import forms
from webapp.datasets import service
from webapp.errors import Invalid
from webapp.models import Dataset
from webapp.security import actor, allow

bp = Blueprint("review", __name__, url_prefix="/datasets")
PATTERNS = ("exclude_pattern", "group_pattern")
TRIED_S = 3.0  # a page that waits for each of 500 paths would hold the server for minutes
SHOWN = 40


@bp.get("/<int:dataset_id>/tried")
@allow("researcher")
def tried(dataset_id: int) -> str:
    """What the typed patterns find in a sample of the paths; the sentence where they are none."""
    paths = service.get(dataset_id).preview.get("sample_paths", [])
    typed = {name: request.args.get(f"options.{name}", "").strip() for name in PATTERNS}
    try:
        forms.parse(IngestOptions, "options", {f"options.{name}": text for name, text in typed.items()})
        excluded, grouped = (
            Pattern(typed[name], name.replace("_", " "), TRIED_S) if typed[name] else None for name in PATTERNS
        )
        out = {path for path in paths if excluded and excluded.search(path)}
        left = [path for path in paths if path not in out]
        found = preview.examples(grouped, left) if grouped else []
    except Invalid as error:
        return render_template("datasets/_tried.html", problem="; ".join(error.fields.values()))
    except BadConfig as error:
        return render_template("datasets/_tried.html", problem=str(error))
    by_group = {one.group: one for one in reversed(found) if one.group is not None}
    missed = [one.path for one in found if one.group is None]
    return render_template(
        "datasets/_tried.html",
        shown=list(by_group.values())[::-1][:SHOWN],
        groups=len(by_group),
        missed=missed,
        left_out=sorted(out),
        total=len(paths),
    )


@bp.post("/<int:dataset_id>/confirm")
@allow("researcher")
def confirm(dataset_id: int) -> str | BaseResponse | tuple[str, int]:
    dataset = service.get(dataset_id)
    values = _typed(dataset)
    try:
        service.confirm(dataset, forms.parse(IngestOptions, "options", values), actor().user)
    except Invalid as error:
        return render_template("datasets/detail.html", **facts(dataset, values, error.fields)), error.status
    return redirect(url_for("datasets.detail", dataset_id=dataset_id))


def _typed(dataset: Dataset) -> dict[str, Any]:
    """The form's values by dotted name. An emptied pattern means none, not the proposal."""
    values = forms.typed(IngestOptions, "options", request.form)
    values |= {f"options.{name}": values.get(f"options.{name}") or "" for name in PATTERNS}
    found = [entry["name"] for entry in dataset.preview.get("classes", [])]
    renamed = {name: " ".join(request.form.get(f"class.{number}", name).split()) for number, name in enumerate(found)}
    values["options.classes"] = {old: new for old, new in renamed.items() if old != new}
    positive = values.get("options.positive_class")
    if positive in values["options.classes"] and positive not in renamed.values():
        values["options.positive_class"] = renamed[positive]
    return values


def facts(
    dataset: Dataset, values: dict[str, Any] | None = None, errors: dict[str, str] | None = None
) -> dict[str, Any]:
    """What the page of a data set in review shows: the preview, and the form with the proposals or what was typed."""
    proposed = IngestOptions.model_validate(dataset.options).model_dump()
    proposed |= {name: dataset.preview.get(name) for name in (*PATTERNS, "positive_class") if proposed[name] is None}
    flat = forms.flatten({**proposed, "classes": {}}, "options") | (values or {})
    renamed = (values or {}).get("options.classes", proposed["classes"])
    names = [entry["name"] for entry in dataset.preview.get("classes", [])]
    return {
        "dataset": dataset,
        "preview": dataset.preview,
        "groups": forms.groups_of(IngestOptions, "options", flat, errors or {}),
        "errors": errors or {},
        "renamed": renamed,
        "positive_choices": ["", *names],
    }

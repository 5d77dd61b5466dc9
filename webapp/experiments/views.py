"""Experiments: the list, a new one, and watching one."""

from itertools import pairwise
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload
from werkzeug.wrappers import Response as BaseResponse

from ml.config import TrainConfig
from ml.presets import USUAL_IMAGES, fitted_to, presets
from ml.space import Plan
from webapp import forms, queue, waiting
from webapp.datasets import service as datasets
from webapp.errors import AppError, Invalid
from webapp.experiments import augmentations, service
from webapp.models import FINAL_STATUSES, Experiment, ModelVersion, db
from webapp.pagination import page_of
from webapp.rates import service as rates
from webapp.searches import form as plans
from webapp.searches import service as searches
from webapp.security import actor, allow
from webapp.studies import service as studies

bp = Blueprint("experiments", __name__, url_prefix="/experiments")
Page = str | BaseResponse | tuple[str, int]
# What most people set; every other hyper-parameter is offered under "All settings".
BASIC = ("network", "initial_weights", "image_size_px", "epochs", "batch_size", "learning_rate")
CURVES = {
    "loss-curve": (("train_loss", "Training loss"), ("validation_loss", "Validation loss")),
    "score-curve": (
        ("train_accuracy", "Training accuracy"),
        ("validation_accuracy", "Validation accuracy"),
        ("validation_auc", "Validation AUC"),
    ),
}
EPOCHS_SHOWN_LIVE = 10


@bp.get("/")
@allow("viewer")
def index() -> str:
    statement = select(Experiment).options(joinedload(Experiment.dataset), selectinload(Experiment.version))
    page = page_of(statement, Experiment, cursor=request.args.get("cursor"))
    return render_template("experiments/index.html", page=page, has_data=bool(datasets.ready()))


@bp.get("/new")
@allow("researcher")
def new() -> str:
    """The form: as it comes, with the settings of `clone`, or with those of `rate_search` and what it found."""
    dataset_id, clone_id = request.args.get("dataset", type=int), request.args.get("clone", type=int)
    rate_search_id = request.args.get("rate_search", type=int)
    if rate_search_id is not None:
        tested = rates.get(rate_search_id)
        values = forms.flatten(tested.config | rates.found(tested), "config")
        return _form_page(values, {}, tested.name, dataset_id or tested.dataset_id)
    if clone_id is None:
        return _form_page({}, {}, "", dataset_id)
    origin = service.get(clone_id)
    values = forms.flatten(origin.config, "config")
    return _form_page(values, {}, f"{origin.name} (copy)"[:200], dataset_id or origin.dataset_id)


def _form_page(
    values: dict[str, Any],
    errors: dict[str, str],
    name: str,
    dataset_id: int | None,
    problem: str | None = None,
    repeat: tuple[str, str] = ("once", "5"),
) -> str:
    own, *nested = forms.groups_of(TrainConfig, "config", values, errors)
    basic = [field for field in own.fields if field.name.removeprefix("config.") in BASIC]
    return render_template(
        "experiments/new.html",
        basic=basic,
        other=[field for field in own.fields if field not in basic],
        nested=nested,
        datasets=datasets.ready(),
        dataset_id=dataset_id,
        name=name,
        errors=errors,
        problem=problem,
        repeat=repeat,
        plan=forms.groups_of(Plan, "plan", values, errors)[0].fields,
        space=plans.entries(request.form, errors),
        is_search=request.form.get("begin") == "search",
        **_presets(dataset_id),
        weights=_initial_weights(),
    )


def _initial_weights() -> list[str]:
    """What the form proposes; a file's name can be typed as well."""
    newest = db.session.scalars(select(ModelVersion.id).order_by(ModelVersion.id.desc()).limit(20))
    return ["none", "imagenet", *(f"version:{number}" for number in newest)]


def _presets(dataset_id: int | None) -> dict[str, Any]:
    """The presets for the size of the chosen data set, and what it changed; the first one is chosen where none is."""
    every = {dataset.id: dataset for dataset in datasets.ready()}
    chosen = every.get(dataset_id or next(iter(every), 0))
    images = sum(entry["train"] for entry in chosen.classes) if chosen else USUAL_IMAGES
    offered = [
        {"name": name, "title": title, "purpose": purpose, "values": forms.flatten(config.model_dump(), "config")}
        for name, (title, purpose, config) in presets(images).items()
    ]
    return {"presets": offered, "fitted": fitted_to(images) if chosen else None}


@bp.get("/presets")
@allow("researcher")
def presets_of() -> str:
    """The buttons of the presets, for the data set that the form names."""
    return render_template("experiments/_presets.html", **_presets(request.args.get("dataset_id", type=int)))


@bp.post("/new")
@allow("researcher")
def create() -> Page:
    values, name = forms.typed(TrainConfig, "config", request.form), request.form.get("name", "")
    planned = forms.typed(Plan, "plan", request.form)
    dataset_id = request.form.get("dataset_id", type=int)
    repeat, k = request.form.get("repeat", "once"), request.form.get("k", "")
    try:
        if dataset_id is None:
            raise Invalid("Choose the data set to train on.", {"dataset_id": "choose one"})
        config = forms.parse(TrainConfig, "config", values)
        return redirect(_begin(dataset_id, name, config))
    except AppError as error:
        fields = error.fields if isinstance(error, Invalid) else {}
        return _form_page(values | planned, fields, name, dataset_id, str(error), (repeat, k)), error.status


def _begin(dataset_id: int, name: str, config: TrainConfig) -> str:
    """The address of what the button that was pressed, and the repetition that was chosen, begin."""
    form, user = request.form, actor().user
    if form.get("begin") == "rate":
        return url_for("rates.detail", rate_search_id=rates.create(dataset_id, name, config, user).id)
    if form.get("begin") == "search":
        return url_for(
            "searches.detail", search_id=searches.create(dataset_id, name, config, plans.parse(form), user).id
        )
    if form.get("repeat", "once") != "once":
        study = studies.create(dataset_id, name, form["repeat"], _k(form.get("k", "")), config, user)
        return url_for("studies.detail", study_id=study.id)
    return url_for("experiments.detail", experiment_id=service.create(dataset_id, name, config, user).id)


def _k(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise Invalid(f"k is '{text[:20]}'; it must be a whole number.", {"k": "a whole number"})
    return int(text)


@bp.get("/augmentations")
@allow("researcher")
def augmented() -> Page:
    """A training image through the augmentations that the form names; what is wrong with them is a sentence."""
    dataset_id, number = request.args.get("dataset_id", type=int), request.args.get("number", type=int)
    try:
        if dataset_id is None:
            raise Invalid("Choose the data set to train on.")
        config = forms.parse(TrainConfig, "config", forms.typed(TrainConfig, "config", request.args))
        is_another = "another" in request.args
        shown = augmentations.preview(datasets.get_ready(dataset_id), None if is_another else number or 0, config)
    except AppError as error:
        fields = error.fields if isinstance(error, Invalid) else {}
        return render_template("experiments/_augmentations.html", problem=str(error), fields=fields, number=number), 422
    return render_template("experiments/_augmentations.html", shown=shown, number=shown.number)


@bp.get("/<int:experiment_id>")
@allow("viewer")
def detail(experiment_id: int) -> str:
    experiment = service.get(experiment_id)
    settings = forms.groups_of(TrainConfig, "config", forms.flatten(experiment.config, "config"), {})
    return render_template("experiments/detail.html", settings=settings, **_live(experiment))


@bp.get("/<int:experiment_id>/live")
@allow("viewer")
def live(experiment_id: int) -> str:
    return render_template("experiments/_live.html", **_live(service.get(experiment_id)))


def _live(experiment: Experiment) -> dict[str, Any]:
    is_final = experiment.status in FINAL_STATUSES
    return {
        "experiment": experiment,
        "is_final": is_final,
        "curves": _curves(experiment),
        "epochs": experiment.epochs[::-1] if is_final else experiment.epochs[: -EPOCHS_SHOWN_LIVE - 1 : -1],
        "position": waiting.place(queue.TRAIN, experiment),
    }


def _curves(experiment: Experiment) -> dict[str, dict[str, Any]]:
    """What each chart is drawn from, by the chart's id."""
    epochs = experiment.epochs
    return {
        name: {
            "kind": "curves",
            "epochs": [epoch.number for epoch in epochs],
            "attempts": [after.number for before, after in pairwise(epochs) if after.attempt != before.attempt],
            "lines": [
                {"name": title, "values": [getattr(epoch, column) for epoch in epochs]} for column, title in columns
            ],
        }
        for name, columns in CURVES.items()
    }


@bp.post("/<int:experiment_id>/cancel")
@allow("researcher")
def cancel(experiment_id: int) -> BaseResponse:
    service.cancel(service.get(experiment_id), actor().user)
    return redirect(url_for("experiments.detail", experiment_id=experiment_id))


@bp.post("/<int:experiment_id>/again")
@allow("researcher")
def run_again(experiment_id: int) -> BaseResponse:
    experiment = service.run_again(service.get(experiment_id), actor().user)
    flash("Queued. Its version will say whether it scores as the first run did.", "success")
    return redirect(url_for("experiments.detail", experiment_id=experiment.id))


@bp.post("/<int:experiment_id>/resume")
@allow("researcher")
def resume(experiment_id: int) -> BaseResponse:
    experiment = service.get(experiment_id)
    service.resume(experiment, actor().user)
    flash(f"The experiment goes on after epoch {experiment.checkpoint_epoch}.", "success")
    return redirect(url_for("experiments.detail", experiment_id=experiment_id))

"""Version 1 of the REST interface: the same services as the pages, as JSON."""

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, g, request
from sqlalchemy import select

from ml.config import IngestOptions, TrainConfig
from ml.revision import Change
from webapp.api import bodies, schemas
from webapp.datasets import contents, versions
from webapp.datasets import service as datasets
from webapp.errors import Invalid
from webapp.experiments import service as experiments
from webapp.models import Activation, Dataset, Evaluation, Experiment, ModelVersion, Study
from webapp.pagination import page_of
from webapp.predictions import service as predictions
from webapp.registry import comparison, files
from webapp.registry import service as registry
from webapp.security import actor, allow
from webapp.studies import service as studies

bp = Blueprint("api", __name__)
V1 = "/api/v1"
PLACE = {"pack", "member", "offset", "length", "thumbnail_offset", "thumbnail_length"}  # the store's own affair
Json = dict[str, Any]
Accepted = tuple[Json, int]


@bp.post("/predict", endpoint="predict_short")
@bp.post(f"{V1}/predict")
@allow("viewer", scope="predict")
def predict() -> Json:
    explains = bodies.switch("explain") or False
    loaded, answered = predictions.predict(bodies.images(), actor(), explains)
    return schemas.predictions(loaded, answered, g.request_id)


@bp.post(f"{V1}/datasets")
@allow("researcher")
def create_dataset() -> Accepted:
    """An archive as multipart; a finished upload or a well-known set as JSON."""
    if request.is_json:
        row = _create_from_json()
    else:
        part, options = bodies.archive(), bodies.dataset_options()
        plain = IngestOptions.model_validate(options.model_dump(exclude={"review"}))
        row = datasets.create_from_archive(
            part.stream,  # type: ignore[arg-type]
            request.form.get("name", ""),
            plain,
            actor().user,
            needs_review=options.review,
        )
    return schemas.dataset(row), 202


def _create_from_json() -> Dataset:
    wanted = bodies.body(schemas.NewDataset)
    options = IngestOptions.model_validate(wanted.options.model_dump(exclude={"review"}))
    if wanted.upload:
        return datasets.create_from_upload(wanted.upload, wanted.name, options, actor().user, wanted.options.review)
    return datasets.create_from_source(wanted.source, wanted.name, options, actor().user)


@bp.get(f"{V1}/datasets")
@allow("viewer")
def list_datasets() -> Json:
    page = page_of(select(Dataset), Dataset, *bodies.page_arguments())
    return {"items": [schemas.dataset(row, is_whole=False) for row in page.items], "next": page.next}


@bp.get(f"{V1}/datasets/<int:dataset_id>")
@allow("viewer")
def read_dataset(dataset_id: int) -> Json:
    return schemas.dataset(datasets.get(dataset_id))


@bp.post(f"{V1}/datasets/<int:dataset_id>/confirm")
@allow("researcher")
def confirm_dataset(dataset_id: int) -> Accepted:
    """Lets the ingest of a reviewed archive begin; what `options` leaves out is as asked for at first, or proposed."""
    row, wanted = datasets.get(dataset_id), bodies.body(schemas.Confirmation)
    options = IngestOptions.model_validate(row.options | wanted.options.model_dump(exclude_unset=True))
    datasets.confirm(row, options, actor().user)
    return schemas.dataset(row), 202


@bp.post(f"{V1}/datasets/<int:dataset_id>/versions")
@allow("researcher")
def create_dataset_version(dataset_id: int) -> Accepted:
    row = versions.change(datasets.get(dataset_id), bodies.body(Change), actor().user)
    return schemas.dataset(row), 202


@bp.delete(f"{V1}/datasets/<int:dataset_id>")
@allow("researcher")
def delete_dataset(dataset_id: int) -> tuple[str, int]:
    datasets.delete(datasets.get(dataset_id), actor().user)
    return "", 204


@bp.get(f"{V1}/datasets/<int:dataset_id>/images")
@allow("viewer")
def list_images(dataset_id: int) -> Json:
    limit, start = bodies.whole_number("limit", 100), bodies.whole_number("cursor", 0)
    if not 1 <= limit <= 1000:
        raise Invalid(f"limit is {limit}; it must lie between 1 and 1000.", {"limit": "1 to 1000"})
    items: list[Json] = []
    for number, row in contents.rows_of(datasets.get_ready(dataset_id), start, **vars(bodies.image_filter())):
        if len(items) == limit:
            return {"items": items, "next": str(number)}
        items.append({"number": number, **{name: fact for name, fact in asdict(row).items() if name not in PLACE}})
    return {"items": items, "next": None}


@bp.get(f"{V1}/config-schema")
@allow("viewer")
def config_schema() -> Json:
    return TrainConfig.model_json_schema()


@bp.post(f"{V1}/experiments")
@allow("researcher")
def create_experiment() -> Accepted:
    wanted = bodies.body(schemas.NewExperiment)
    row = experiments.create(wanted.dataset_id, wanted.name, wanted.config, actor().user)
    return schemas.experiment(row), 202


@bp.get(f"{V1}/experiments")
@allow("viewer")
def list_experiments() -> Json:
    page = page_of(select(Experiment), Experiment, *bodies.page_arguments())
    return {"items": [schemas.experiment(row) for row in page.items], "next": page.next}


@bp.get(f"{V1}/experiments/<int:experiment_id>")
@allow("viewer")
def read_experiment(experiment_id: int) -> Json:
    return schemas.experiment(experiments.get(experiment_id))


@bp.post(f"{V1}/experiments/<int:experiment_id>/cancel")
@allow("researcher")
def cancel_experiment(experiment_id: int) -> Accepted:
    row = experiments.get(experiment_id)
    experiments.cancel(row, actor().user)
    return schemas.experiment(row), 202


@bp.post(f"{V1}/experiments/<int:experiment_id>/resume")
@allow("researcher")
def resume_experiment(experiment_id: int) -> Accepted:
    row = experiments.get(experiment_id)
    experiments.resume(row, actor().user)
    return schemas.experiment(row), 202


@bp.post(f"{V1}/studies")
@allow("researcher")
def create_study() -> Accepted:
    wanted = bodies.body(schemas.NewStudy)
    row = studies.create(wanted.dataset_id, wanted.name, wanted.kind, wanted.k, wanted.config, actor().user)
    return schemas.study(row), 202


@bp.get(f"{V1}/studies")
@allow("viewer")
def list_studies() -> Json:
    page = page_of(select(Study), Study, *bodies.page_arguments())
    return {"items": [schemas.study(row) for row in page.items], "next": page.next}


@bp.get(f"{V1}/studies/<int:study_id>")
@allow("viewer")
def read_study(study_id: int) -> Json:
    return schemas.study(studies.get(study_id))


@bp.post(f"{V1}/studies/<int:study_id>/cancel")
@allow("researcher")
def cancel_study(study_id: int) -> Accepted:
    row = studies.get(study_id)
    studies.cancel(row, actor().user)
    return schemas.study(row), 202


@bp.get(f"{V1}/versions")
@allow("viewer")
def list_versions() -> Json:
    active = registry.active()
    page = page_of(select(ModelVersion), ModelVersion, *bodies.page_arguments())
    return {"items": [schemas.version(row, active) for row in page.items], "next": page.next}


@bp.get(f"{V1}/versions/compare")
@allow("viewer")
def compare_versions() -> Json:
    """`version` is given for each; `dataset_id` and `split` choose among the evaluations that all have in common."""
    chosen = comparison.chosen(request.args.getlist("version"))
    dataset_id = bodies.whole_number("dataset_id", 0) or None
    return schemas.comparison(comparison.compare(chosen, dataset_id, request.args.get("split")))


@bp.get(f"{V1}/versions/<int:version_id>")
@allow("viewer")
def read_version(version_id: int) -> Json:
    row = registry.get(version_id)
    return {**schemas.version(row, registry.active()), "card": row.card}


@bp.get(f"{V1}/versions/<int:version_id>/files/<name>")
@allow("viewer")
def version_file(version_id: int, name: str) -> Response:
    return files.send(version_id, name)


@bp.post(f"{V1}/versions/<int:version_id>/activate")
@allow("researcher")
def activate_version(version_id: int) -> Json:
    reason = bodies.body(schemas.Reason).reason
    return schemas.activation(registry.activate(registry.get(version_id), reason, actor().user))


@bp.post(f"{V1}/rollback")
@allow("researcher")
def roll_back() -> Json:
    return schemas.activation(registry.rollback(bodies.body(schemas.Reason).reason, actor().user))


@bp.get(f"{V1}/activations")
@allow("viewer")
def list_activations() -> Json:
    page = page_of(select(Activation), Activation, *bodies.page_arguments())
    return {"items": [schemas.activation(row) for row in page.items], "next": page.next}


@bp.post(f"{V1}/evaluations")
@allow("researcher")
def create_evaluation() -> Accepted:
    wanted = bodies.body(schemas.NewEvaluation)
    row = registry.start_evaluation(wanted.version, wanted.dataset_id, wanted.split, actor().user, wanted.robustness)
    return schemas.evaluation(row), 202


@bp.get(f"{V1}/evaluations")
@allow("viewer")
def list_evaluations() -> Json:
    page = page_of(select(Evaluation), Evaluation, *bodies.page_arguments())
    return {"items": [schemas.evaluation(row) for row in page.items], "next": page.next}


@bp.get(f"{V1}/evaluations/<int:evaluation_id>")
@allow("viewer")
def read_evaluation(evaluation_id: int) -> Json:
    return schemas.evaluation(registry.get_evaluation(evaluation_id))

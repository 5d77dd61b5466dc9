"""Version 1 of the REST interface: the same services as the pages, as JSON."""

from typing import Any

from flask import Blueprint, current_app, g, request
from sqlalchemy import select

from ml.config import TrainConfig
from ml.ingest_options import IngestOptions
from ml.revision import Change
from webapp.api import answers, bodies, comparing, openapi, schemas, sent
from webapp.api.bodies import asks, may_fail, may_take, takes
from webapp.api.shapes import Accepted, FileOfVersion, Nothing, Page
from webapp.datasets import contents, versions
from webapp.datasets import service as datasets
from webapp.experiments import service as experiments
from webapp.models import Activation, Dataset, Evaluation, Experiment, ModelVersion, Study
from webapp.pagination import page_of
from webapp.predictions import service as predictions
from webapp.predictions import turns
from webapp.registry import comparison, files
from webapp.registry import service as registry
from webapp.security import actor, allow
from webapp.studies import service as studies

bp = Blueprint("api", __name__)
V1 = "/api/v1"
IMAGES: dict[str, Any] = {
    **dict.fromkeys(("image/*", *bodies.RAW_TYPES), bytes),
    "multipart/form-data": sent.ImagesForm,
    "application/json": sent.EncodedImages,
}
ARCHIVES: dict[str, Any] = {"multipart/form-data": sent.DatasetForm, "application/json": sent.NewDataset}


@bp.post("/predict", endpoint="predict_short")
@bp.post(f"{V1}/predict")
@allow("viewer", scope="predict")
@may_take(IMAGES)
@asks(sent.Explain)
def predict(asked: sent.Explain) -> answers.Predictions:
    """The active version's answer for each image: one as the raw body, several as multipart or JSON.

    One bad image among several is an `error` in its own place; a bad image alone is a 422.
    """
    with turns.taken(request.environ):
        loaded, answered = predictions.predict(bodies.images(), actor(), asked.explain == "1")
    return schemas.predictions(loaded, answered, g.request_id)


@bp.post(f"{V1}/datasets")
@allow("researcher")
@may_take(ARCHIVES)
@may_fail(410)
def create_dataset() -> Accepted[answers.Dataset]:
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
    wanted = bodies.body(sent.NewDataset)
    options = IngestOptions.model_validate(wanted.options.model_dump(exclude={"review"}))
    if wanted.upload:
        return datasets.create_from_upload(wanted.upload, wanted.name, options, actor().user, wanted.options.review)
    return datasets.create_from_source(wanted.source, wanted.name, options, actor().user)


@bp.get(f"{V1}/datasets")
@allow("viewer")
@asks(sent.PageArguments)
def list_datasets(asked: sent.PageArguments) -> Page[answers.Dataset]:
    page = page_of(select(Dataset), Dataset, asked.limit, asked.cursor)
    return {"items": [schemas.dataset(row, is_whole=False) for row in page.items], "next": page.next}


@bp.get(f"{V1}/datasets/<int:dataset_id>")
@allow("viewer")
def read_dataset(dataset_id: int) -> answers.Dataset:
    return schemas.dataset(datasets.get(dataset_id))


@bp.post(f"{V1}/datasets/<int:dataset_id>/confirm")
@allow("researcher")
@takes(sent.Confirmation)
def confirm_dataset(wanted: sent.Confirmation, dataset_id: int) -> Accepted[answers.Dataset]:
    """Lets the ingest of a reviewed archive begin; what `options` leaves out is as asked for at first, or proposed."""
    row = datasets.get(dataset_id)
    options = IngestOptions.model_validate(row.options | wanted.options.model_dump(exclude_unset=True))
    datasets.confirm(row, options, actor().user)
    return schemas.dataset(row), 202


@bp.post(f"{V1}/datasets/<int:dataset_id>/versions")
@allow("researcher")
@takes(Change)
def create_dataset_version(wanted: Change, dataset_id: int) -> Accepted[answers.Dataset]:
    row = versions.change(datasets.get(dataset_id), wanted, actor().user)
    return schemas.dataset(row), 202


@bp.delete(f"{V1}/datasets/<int:dataset_id>")
@allow("researcher")
def delete_dataset(dataset_id: int) -> Nothing:
    datasets.delete(datasets.get(dataset_id), actor().user)
    return "", 204


@bp.get(f"{V1}/datasets/<int:dataset_id>/images")
@allow("viewer")
@asks(sent.ImageArguments)
def list_images(asked: sent.ImageArguments, dataset_id: int) -> Page[answers.Image]:
    """The manifest, image by image."""
    items: list[answers.Image] = []
    for number, row in contents.rows_of(datasets.get_ready(dataset_id), asked.cursor, **asked.wanted()):
        if len(items) == asked.limit:
            return {"items": items, "next": str(number)}
        items.append(schemas.image(number, row))
    return {"items": items, "next": None}


@bp.get(f"{V1}/config-schema")
@allow("viewer")
def config_schema() -> dict[str, Any]:
    return TrainConfig.model_json_schema()


@bp.post(f"{V1}/experiments")
@allow("researcher")
@takes(sent.NewExperiment)
def create_experiment(wanted: sent.NewExperiment) -> Accepted[answers.Experiment]:
    row = experiments.create(wanted.dataset_id, wanted.name, wanted.config, actor().user)
    return schemas.experiment(row), 202


@bp.get(f"{V1}/experiments")
@allow("viewer")
@asks(sent.PageArguments)
def list_experiments(asked: sent.PageArguments) -> Page[answers.Experiment]:
    page = page_of(select(Experiment), Experiment, asked.limit, asked.cursor)
    return {"items": [schemas.experiment(row) for row in page.items], "next": page.next}


@bp.get(f"{V1}/experiments/<int:experiment_id>")
@allow("viewer")
def read_experiment(experiment_id: int) -> answers.Experiment:
    return schemas.experiment(experiments.get(experiment_id))


@bp.post(f"{V1}/experiments/<int:experiment_id>/cancel")
@allow("researcher")
def cancel_experiment(experiment_id: int) -> Accepted[answers.Experiment]:
    row = experiments.get(experiment_id)
    experiments.cancel(row, actor().user)
    return schemas.experiment(row), 202


@bp.post(f"{V1}/experiments/<int:experiment_id>/resume")
@allow("researcher")
def resume_experiment(experiment_id: int) -> Accepted[answers.Experiment]:
    row = experiments.get(experiment_id)
    experiments.resume(row, actor().user)
    return schemas.experiment(row), 202


@bp.post(f"{V1}/studies")
@allow("researcher")
@takes(sent.NewStudy)
def create_study(wanted: sent.NewStudy) -> Accepted[answers.Study]:
    row = studies.create(wanted.dataset_id, wanted.name, wanted.kind, wanted.k, wanted.config, actor().user)
    return schemas.study(row), 202


@bp.get(f"{V1}/studies")
@allow("viewer")
@asks(sent.PageArguments)
def list_studies(asked: sent.PageArguments) -> Page[answers.Study]:
    page = page_of(select(Study), Study, asked.limit, asked.cursor)
    return {"items": [schemas.study(row) for row in page.items], "next": page.next}


@bp.get(f"{V1}/studies/<int:study_id>")
@allow("viewer")
def read_study(study_id: int) -> answers.Study:
    return schemas.study(studies.get(study_id))


@bp.post(f"{V1}/studies/<int:study_id>/cancel")
@allow("researcher")
def cancel_study(study_id: int) -> Accepted[answers.Study]:
    row = studies.get(study_id)
    studies.cancel(row, actor().user)
    return schemas.study(row), 202


@bp.get(f"{V1}/versions")
@allow("viewer")
@asks(sent.PageArguments)
def list_versions(asked: sent.PageArguments) -> Page[answers.Version]:
    active = registry.active()
    page = page_of(select(ModelVersion), ModelVersion, asked.limit, asked.cursor)
    return {"items": [schemas.version(row, active) for row in page.items], "next": page.next}


@bp.get(f"{V1}/versions/compare")
@allow("viewer")
@asks(sent.ComparisonArguments)
def compare_versions(asked: sent.ComparisonArguments) -> comparing.Comparison:
    """Their settings, curves, and paired tests on the images that all were evaluated on."""
    chosen = comparison.chosen([str(number) for number in asked.version])
    return schemas.comparison(comparison.compare(chosen, asked.dataset_id or None, asked.split or None))


@bp.get(f"{V1}/versions/<int:version_id>")
@allow("viewer")
def read_version(version_id: int) -> answers.VersionWithCard:
    row = registry.get(version_id)
    return {**schemas.version(row, registry.active()), "card": row.card}


@bp.get(f"{V1}/versions/<int:version_id>/files/<name>")
@allow("viewer")
def version_file(version_id: int, name: str) -> FileOfVersion:
    return files.send(version_id, name)


@bp.post(f"{V1}/versions/<int:version_id>/activate")
@allow("researcher")
@takes(sent.NewActivation)
def activate_version(wanted: sent.NewActivation, version_id: int) -> answers.Activation:
    version = registry.get(version_id)
    return schemas.activation(registry.activate(version, wanted.reason, actor().user, wanted.variant))


@bp.post(f"{V1}/rollback")
@allow("researcher")
@takes(sent.Reason)
def roll_back(wanted: sent.Reason) -> answers.Activation:
    return schemas.activation(registry.rollback(wanted.reason, actor().user))


@bp.get(f"{V1}/activations")
@allow("viewer")
@asks(sent.PageArguments)
def list_activations(asked: sent.PageArguments) -> Page[answers.Activation]:
    page = page_of(select(Activation), Activation, asked.limit, asked.cursor)
    return {"items": [schemas.activation(row) for row in page.items], "next": page.next}


@bp.post(f"{V1}/evaluations")
@allow("researcher")
@takes(sent.NewEvaluation)
def create_evaluation(wanted: sent.NewEvaluation) -> Accepted[answers.Evaluation]:
    row = registry.start_evaluation(wanted.version, wanted.dataset_id, wanted.split, actor().user, wanted.robustness)
    return schemas.evaluation(row), 202


@bp.get(f"{V1}/evaluations")
@allow("viewer")
@asks(sent.PageArguments)
def list_evaluations(asked: sent.PageArguments) -> Page[answers.Evaluation]:
    page = page_of(select(Evaluation), Evaluation, asked.limit, asked.cursor)
    return {"items": [schemas.evaluation(row) for row in page.items], "next": page.next}


@bp.get(f"{V1}/evaluations/<int:evaluation_id>")
@allow("viewer")
def read_evaluation(evaluation_id: int) -> answers.Evaluation:
    return schemas.evaluation(registry.get_evaluation(evaluation_id))


@bp.get(f"{V1}/openapi.json")
def openapi_document() -> dict[str, Any]:
    """This document."""
    return openapi.document(current_app)

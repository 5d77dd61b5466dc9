"""What clients send and get: rows as JSON, bodies as models."""

import base64
import datetime
from typing import Any

from flask import url_for
from pydantic import Field

from ml.config import Frozen, IngestOptions, TrainConfig
from webapp.models import MAX_ID, Activation, Dataset, Epoch, Evaluation, Experiment, ModelVersion, Study
from webapp.predictions.active import Loaded
from webapp.predictions.service import Answered
from webapp.registry import looks, report
from webapp.registry import service as registry
from webapp.registry.comparison import Compared
from webapp.studies import results
from webapp.studies import service as studies

DISAGREEMENTS_SENT = 200


class DatasetOptions(IngestOptions):
    """The `options` of an upload."""

    review: bool = Field(False, description="Wait for a person to confirm what was found")


class Confirmation(Frozen):
    """What a person decided of a reviewed archive."""

    options: IngestOptions = Field(default_factory=IngestOptions)


class NewExperiment(Frozen):
    dataset_id: int = Field(ge=1, le=MAX_ID)
    name: str
    config: TrainConfig = Field(default_factory=TrainConfig)


class NewStudy(Frozen):
    dataset_id: int = Field(ge=1, le=MAX_ID)
    name: str
    kind: str
    k: int
    config: TrainConfig = Field(default_factory=TrainConfig)


class NewDataset(Frozen):
    """A data set of a finished resumable upload, or a well-known one."""

    source: str = ""
    upload: str = Field("", max_length=43)
    name: str = ""
    options: DatasetOptions = Field(default_factory=DatasetOptions)


class NewEvaluation(Frozen):
    version: int = Field(ge=1, le=MAX_ID)
    dataset_id: int = Field(ge=1, le=MAX_ID)
    split: str = "test"
    robustness: bool = False


class Reason(Frozen):
    reason: str


class EncodedImages(Frozen):
    """Images as base64 text."""

    images: list[str] = Field(min_length=1)


def moment(value: datetime.datetime | None) -> str | None:
    return value.isoformat() if value else None


def dataset(row: Dataset, is_whole: bool = True) -> dict[str, Any]:
    """What clients read of a data set. In lists without its change, which may name every image."""
    return {
        "id": row.id,
        "name": row.name,
        "status": row.status,
        "rejected_because": row.rejected_because,
        "progress": row.progress,
        "sha256": row.sha256,
        "images": row.images,
        "groups": row.groups,
        "classes": row.classes,
        "positive_class": row.positive_class,
        "source": row.source_name or "upload",
        "issues": row.report.get("issues", []),
        "rejected": row.report.get("rejected", []),
        "left_out": row.report.get("left_out", []),
        "quarantined": row.report.get("quarantined", 0),
        "leaks": row.report.get("leaks", 0),
        "divided_by_chance": row.report.get("divided_by_chance", 0),
        "options": row.options,
        "preview": row.preview if row.status == "review" else None,
        "line": row.line,
        "number": row.number,
        "parent_number": row.parent_number,
        "change": row.change if is_whole else None,
        "difference": row.report.get("difference"),
        "created_at": moment(row.created_at),
        "url": url_for("api.read_dataset", dataset_id=row.id),
    }


def epoch(row: Epoch) -> dict[str, Any]:
    return {
        name: getattr(row, name)
        for name in (
            "number",
            "attempt",
            "train_loss",
            "train_accuracy",
            "validation_loss",
            "validation_accuracy",
            "validation_auc",
            "learning_rate",
            "seconds",
            "images_per_s",
        )
    }


def experiment(row: Experiment) -> dict[str, Any]:
    tested = registry.test_evaluation(row.version) if row.version else None
    return {
        "id": row.id,
        "name": row.name,
        "dataset_id": row.dataset_id,
        "dataset": {"name": row.dataset.name, "number": row.dataset.number, "sha256": row.dataset.sha256},
        "status": row.status,
        "progress": row.progress,
        "phase": row.phase,
        "eta_s": row.eta_s,
        "images_per_s": row.images_per_s,
        "device": row.device,
        "config": row.config,
        "epochs": [epoch(item) for item in row.epochs],
        "metrics": tested.metrics if tested else None,
        "version": row.version.id if row.version else None,
        "study": row.study_id,
        "member": row.member,
        "search": row.search_id,
        "trial": row.trial,
        "pruned_epoch": row.pruned_epoch,
        "failed_because": row.failed_because,
        "attempts": row.attempts,
        "checkpoint_epoch": row.checkpoint_epoch,
        "created_at": moment(row.created_at),
        "started_at": moment(row.started_at),
        "finished_at": moment(row.finished_at),
        "url": url_for("api.read_experiment", experiment_id=row.id),
    }


def study(row: Study) -> dict[str, Any]:
    found = results.of(row)
    return {
        "id": row.id,
        "name": row.name,
        "dataset_id": row.dataset_id,
        "kind": row.kind,
        "k": row.k,
        "status": studies.status(row),
        "config": row.config,
        "members": [
            {
                "number": one.experiment.member,
                "experiment": one.experiment.id,
                "status": one.experiment.status,
                "progress": one.experiment.progress,
                "version": one.experiment.version.id if one.experiment.version else None,
            }
            for one in found.members
        ],
        "finished": found.finished,
        "scores": {name: one.model_dump(mode="json") for name, one in found.spreads.items()},
        "pooled": row.pooled,
        "created_at": moment(row.created_at),
        "url": url_for("api.read_study", study_id=row.id),
    }


def version(row: ModelVersion, active: Activation | None) -> dict[str, Any]:
    tested = registry.test_evaluation(row)
    return {
        "version": row.id,
        "name": row.name,
        "network": row.network,
        "classes": row.classes,
        "positive_class": row.positive_class,
        "experiment_id": row.experiment_id,
        "dataset_id": row.experiment.dataset_id,
        "removed_groups": row.removed_groups,
        "sha256": row.model_sha256,
        "is_active": active is not None and active.version_id == row.id,
        "files": {
            name: {"sha256": sha256, "url": url_for("api.version_file", version_id=row.id, name=name)}
            for name, sha256 in row.files.items()
        },
        "report": url_for("api.version_file", version_id=row.id, name=report.NAME),
        "metrics": tested.metrics if tested else None,
        "created_at": moment(row.created_at),
        "url": url_for("api.read_version", version_id=row.id),
    }


def activation(row: Activation) -> dict[str, Any]:
    return {
        "version": row.version_id,
        "name": row.version.name,
        "reason": row.reason,
        "by": row.user.email,
        "is_rollback": row.is_rollback,
        "activated_at": moment(row.created_at),
    }


def evaluation(row: Evaluation) -> dict[str, Any]:
    return {
        "id": row.id,
        "version": row.version_id,
        "dataset_id": row.dataset_id,
        "split": row.split,
        "status": row.status,
        "progress": row.progress,
        "failed_because": row.failed_because,
        "attempts": row.attempts,
        "metrics": row.metrics,
        "confident_errors": row.confident_errors,
        "robustness": row.robustness,
        "test_looks": looks.count(row.dataset),
        "created_at": moment(row.created_at),
        "finished_at": moment(row.finished_at),
        "url": url_for("api.read_evaluation", evaluation_id=row.id),
    }


def comparison(compared: Compared) -> dict[str, Any]:
    ground, shown = compared.ground, compared.shown
    numbers = [row.id for row in compared.versions]
    disagreements = shown.disagreements if shown else []
    return {
        "versions": numbers,
        "configuration": [
            {"name": setting.name, "values": setting.values, "differs": setting.differs}
            for setting in compared.settings
        ],
        "epochs": [[epoch(item) for item in row.experiment.epochs] for row in compared.versions],
        "problem": compared.problem,
        "dataset_id": ground.dataset.id if ground else None,
        "split": ground.split if ground else None,
        "evaluations": [evaluation(row) for row in ground.evaluations if row] if ground else [],
        "images": shown.n if shown else None,
        "trained_on": shown.learned if shown else None,
        "pairs": [
            {"first": numbers[one.first], "second": numbers[one.second], **one.pair.model_dump(mode="json")}
            for one in (shown.tests if shown else [])
        ],
        "disagreements": {
            "count": len(disagreements),
            "first": [
                {
                    "number": one.number,
                    "truth": one.truth,
                    "said": [{"label": label, "probability": probability} for label, probability in one.answers],
                }
                for one in disagreements[:DISAGREEMENTS_SENT]
            ],
        },
    }


def predictions(loaded: Loaded, answered: list[Answered], request_id: str) -> dict[str, Any]:
    return {
        "model": {"version": loaded.version, "name": loaded.name},
        "predictions": [_prediction(item) for item in answered],
        "request_id": request_id,
    }


def _prediction(item: Answered) -> dict[str, Any]:
    if item.answer is None:
        return {"filename": item.filename, "error": item.error}
    heatmap = base64.b64encode(item.heatmap_png).decode() if item.heatmap_png else None
    return {"filename": item.filename, **item.answer.model_dump(mode="json"), "heatmap_png": heatmap}

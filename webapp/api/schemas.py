"""Rows as the `answers` that clients get."""

import base64
import datetime
from typing import Any, overload

from flask import url_for

from ml.manifest import ImageRow
from webapp.api import answers, comparing
from webapp.models import Activation, BatchPrediction, Dataset, Epoch, Evaluation, Experiment, ModelVersion, Study
from webapp.predictions.active import Loaded
from webapp.predictions.service import Answered
from webapp.registry import looks, report
from webapp.registry import service as registry
from webapp.registry.comparison import Compared
from webapp.studies import results
from webapp.studies import service as studies

DISAGREEMENTS_SENT = 200


@overload
def moment(value: datetime.datetime) -> str: ...
@overload
def moment(value: datetime.datetime | None) -> str | None: ...
def moment(value: datetime.datetime | None) -> str | None:
    return value.isoformat() if value else None


def dataset(row: Dataset, is_whole: bool = True) -> answers.Dataset:
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


def image(number: int, row: ImageRow) -> answers.Image:
    """One line of a manifest, without its place in the packs, which is the store's own affair."""
    return {
        "number": number,
        "path": row.path,
        "label": row.label,
        "split": row.split,
        "group": row.group,
        "sha256": row.sha256,
        "width": row.width,
        "height": row.height,
        "cluster": row.cluster,
        "quarantined": row.quarantined,
        "metadata": row.metadata,
        "issues": row.issues,
    }


def epoch(row: Epoch) -> answers.Epoch:
    return {
        "number": row.number,
        "attempt": row.attempt,
        "train_loss": row.train_loss,
        "train_accuracy": row.train_accuracy,
        "validation_loss": row.validation_loss,
        "validation_accuracy": row.validation_accuracy,
        "validation_auc": row.validation_auc,
        "learning_rate": row.learning_rate,
        "seconds": row.seconds,
        "images_per_s": row.images_per_s,
    }


def experiment(row: Experiment) -> answers.Experiment:
    tested = registry.test_evaluation(row.version) if row.version else None
    return {
        "id": row.id,
        "name": row.name,
        "dataset_id": row.dataset_id,
        "dataset": {"name": row.dataset.name, "number": row.dataset.number, "sha256": row.dataset.sha256},
        "status": row.status,
        "progress": row.progress,
        "phase": row.phase,
        "eta_s": row.eta_s if row.status == Experiment.WORKING else None,
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


def study(row: Study) -> answers.Study:
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


def version(row: ModelVersion, active: Activation | None) -> answers.Version:
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
        "intended_use": intended_use(row),
        "sha256": row.model_sha256,
        "is_active": active is not None and active.version_id == row.id,
        "variants": registry.variants(row),
        "files": {
            name: {"sha256": sha256, "url": url_for("api.version_file", version_id=row.id, name=name)}
            for name, sha256 in row.files.items()
        },
        "report": url_for("api.version_file", version_id=row.id, name=report.NAME),
        "metrics": tested.metrics if tested else None,
        "created_at": moment(row.created_at),
        "url": url_for("api.read_version", version_id=row.id),
    }


def intended_use(row: ModelVersion) -> answers.IntendedUse | None:
    if not row.intended_use:
        return None
    by = row.intended_use_by.email if row.intended_use_by else None
    return {"text": row.intended_use, "by": by, "at": moment(row.intended_use_at)}


def activation(row: Activation) -> answers.Activation:
    return {
        "version": row.version_id,
        "variant": row.variant,
        "name": row.version.name,
        "reason": row.reason,
        "by": row.user.email,
        "is_rollback": row.is_rollback,
        "activated_at": moment(row.created_at),
    }


def evaluation(row: Evaluation) -> answers.Evaluation:
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


def batch_prediction(row: BatchPrediction) -> answers.BatchPrediction:
    results: answers.BatchResults = {
        "csv": url_for("api_batches.batch_results_csv", batch_id=row.id),
        "json": url_for("api_batches.batch_results_json", batch_id=row.id),
    }
    return {
        "id": row.id,
        "name": row.name,
        "status": row.status,
        "version": row.version_id,
        "images": row.images,
        "errors": row.errors,
        "left_out": row.left_out,
        "failed_because": row.failed_because,
        "attempts": row.attempts,
        "created_at": moment(row.created_at),
        "started_at": moment(row.started_at),
        "finished_at": moment(row.finished_at),
        "results": results if row.results_sha256 else None,
        "url": url_for("api_batches.read_batch_prediction", batch_id=row.id),
    }


def comparison(compared: Compared) -> comparing.Comparison:
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


def predictions(loaded: Loaded, answered: list[Answered], request_id: str) -> answers.Predictions:
    return {
        "model": {"version": loaded.version, "variant": loaded.variant, "name": loaded.name},
        "predictions": [_prediction(item) for item in answered],
        "request_id": request_id,
    }


def _prediction(item: Answered) -> dict[str, Any]:
    if item.answer is None:
        return {"filename": item.filename, "error": item.error}
    heatmap = base64.b64encode(item.heatmap_png).decode() if item.heatmap_png else None
    return {"filename": item.filename, **item.answer.model_dump(mode="json"), "heatmap_png": heatmap}

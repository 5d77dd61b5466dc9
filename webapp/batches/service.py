"""Batch predictions: the images of an archive scored by one version, as a job."""

import datetime
import itertools
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, BinaryIO

from flask import current_app
from sqlalchemy import update

from ml import batches
from webapp import archives, audit, queue
from webapp.datasets import service as datasets
from webapp.errors import AppError, Conflict, NotFound, Unavailable
from webapp.models import BatchPrediction, ModelVersion, User, db, find, now
from webapp.registry import service as registry
from webapp.resumable import service as resumable

DEFAULT_NAME = "Batch"


class Gone(AppError):
    status = 410


def create_from_archive(stream: BinaryIO, name: str, version_id: int | None, user: User) -> BatchPrediction:
    """A queued batch of an archive that came whole. Raises Invalid, UnsupportedMedia, NotFound, Unavailable."""
    version, name = _version(version_id), datasets.clean_name(name or DEFAULT_NAME)
    return _begin(BatchPrediction(name=name, version=version, archive_part_sha256s=archives.keep(stream)), user)


def create_from_upload(upload_id: str, name: str, version_id: int | None, user: User) -> BatchPrediction:
    """The same from a finished resumable upload, whose pieces the batch takes over. Raises NotFound, Conflict."""
    version, upload = _version(version_id), archives.finished(upload_id, user)
    name = datasets.clean_name(name or PurePath(upload.filename).name.partition(".")[0] or DEFAULT_NAME)
    return _begin(BatchPrediction(name=name, version=version, archive_part_sha256s=resumable.hand_over(upload)), user)


def _version(version_id: int | None) -> ModelVersion:
    """The version of that number, or the active one. Raises NotFound, Unavailable."""
    if version_id is not None:
        return registry.get(version_id)
    active = registry.active()
    if active is None:
        raise Unavailable("No model version is active. Activate one, or name the `version` that is to score.")
    return active.version


def _begin(batch: BatchPrediction, user: User) -> BatchPrediction:
    batch.created_by_id = user.id
    db.session.add(batch)
    audit.record("batch_prediction.create", batch, user, version=batch.version.id)
    db.session.commit()
    queue.ring(queue.SCORE, batch.id)
    return batch


def get(batch_id: int) -> BatchPrediction:
    """The batch. Raises NotFound."""
    batch = find(BatchPrediction, batch_id)
    if batch is None:
        raise NotFound(f"There is no batch prediction {batch_id}.")
    return batch


def results(batch: BatchPrediction, start: int = 0, limit: int | None = None) -> Iterator[dict[str, Any]]:
    """The answers, in the archive's order, in the shape of `/predict`. Raises Conflict, Gone, MissingObject."""
    if batch.status != "succeeded":
        raise Conflict(f"Batch prediction {batch.id} is {batch.status}; only one that has succeeded has results.")
    if batch.results_sha256 is None:
        days = current_app.extensions["settings"].batch_days
        raise Gone(f"The results of batch prediction {batch.id} were deleted after {days:g} days. Send it again.")
    lines = batches.read(datasets.store().open(batch.results_sha256))
    return itertools.islice(lines, start, None if limit is None else start + limit)


def forget_old() -> None:
    """Results that are old enough have no row any more that names them: the janitor then removes the objects."""
    oldest = now() - datetime.timedelta(days=current_app.extensions["settings"].batch_days)
    old = update(BatchPrediction).where(
        BatchPrediction.finished_at < oldest, BatchPrediction.results_sha256.is_not(None)
    )
    db.session.execute(old.values(results_sha256=None).execution_options(synchronize_session=False))
    db.session.commit()

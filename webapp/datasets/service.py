"""Data sets: bringing them in, reading them, forgetting them."""

from pathlib import PurePath
from typing import Any, BinaryIO

from flask import current_app
from sqlalchemy import select, update

from ml.ingest_options import IngestOptions
from ml.sources import SOURCES
from webapp import archives, audit, objects, queue
from webapp.errors import Conflict, Invalid, NotFound
from webapp.models import Dataset, Evaluation, Experiment, RateSearch, Search, Study, User, db, find, move
from webapp.resumable import service as resumable
from webapp.storage import Store


def store() -> Store:
    found: Store = current_app.extensions["store"]
    return found


def create_from_archive(
    stream: BinaryIO, name: str, options: IngestOptions, user: User, needs_review: bool = False
) -> Dataset:
    """A pending data set whose archive is kept and whose ingest waits. Raises Invalid, UnsupportedMedia.

    With `needs_review` a worker looks at the archive only, and a person confirms what it found.
    """
    dataset = Dataset(name=clean_name(name), archive_part_sha256s=archives.keep(stream), needs_review=needs_review)
    return _begin(dataset, options, user)


def create_from_upload(
    upload_id: str, name: str, options: IngestOptions, user: User, needs_review: bool = False
) -> Dataset:
    """The same from a finished resumable upload, whose pieces the data set takes over. Raises NotFound, Conflict."""
    upload = archives.finished(upload_id, user)
    name = clean_name(name or PurePath(upload.filename).name.partition(".")[0] or "Upload")
    dataset = Dataset(name=name, archive_part_sha256s=resumable.hand_over(upload), needs_review=needs_review)
    return _begin(dataset, options, user)


def confirm(dataset: Dataset, options: IngestOptions, user: User) -> None:
    """Lets the ingest of a reviewed archive begin. Raises Conflict where the data set is in no review."""
    values: dict[str, Any] = {"options": options.model_dump(mode="json"), "needs_review": False, "phase": ""}
    values |= {"rung_at": None, "rejected_because": None, "attempts": 0, "losses": 0}
    if not move(Dataset, dataset.id, "pending", ("review",), **values):
        db.session.rollback()
        raise Conflict(f"Data set {dataset.id} is {dataset.status}; only one in review can be confirmed.")
    audit.record("dataset.confirm", dataset, user)
    db.session.commit()
    queue.ring(queue.INGEST, dataset.id)


def create_from_source(source_name: str, name: str, options: IngestOptions, user: User) -> Dataset:
    """A pending data set that a worker brings in by its well-known name. Raises Invalid."""
    if source_name not in SOURCES:
        raise Invalid(
            f"There is no data set named '{source_name}'; choose one of {', '.join(SOURCES)}.",
            {"source": f"one of {', '.join(SOURCES)}"},
        )
    return _begin(Dataset(name=clean_name(name or source_name), source_name=source_name), options, user)


def _begin(dataset: Dataset, options: IngestOptions, user: User) -> Dataset:
    dataset.options = options.model_dump(mode="json")
    dataset.created_by = user
    db.session.add(dataset)
    audit.record("dataset.create", dataset, user, name=dataset.name, source=dataset.source_name)
    db.session.commit()
    queue.ring(queue.INGEST, dataset.id)
    return dataset


def clean_name(name: str) -> str:
    """The name without surplus white space. Raises Invalid."""
    name = " ".join(name.split())
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise Invalid("The name must have 1 to 200 printable characters.", {"name": "1 to 200 characters"})
    return name


def get(dataset_id: int) -> Dataset:
    """The data set. Raises NotFound."""
    dataset = find(Dataset, dataset_id)
    if dataset is None:
        raise NotFound(f"There is no data set {dataset_id}.")
    return dataset


def get_ready(dataset_id: int) -> Dataset:
    """The data set, which is ready for use. Raises NotFound, Conflict."""
    dataset = get(dataset_id)
    if dataset.status != "ready":
        reason = dataset.rejected_because or "Wait for its ingest."
        raise Conflict(f"Data set {dataset_id} is {dataset.status}, not ready. {reason}")
    return dataset


def ready() -> list[Dataset]:
    """All data sets that can be trained on, newest first."""
    return list(db.session.scalars(select(Dataset).where(Dataset.status == "ready").order_by(Dataset.id.desc())))


def dependants(dataset: Dataset) -> dict[str, list[int]]:
    """What would break if the data set went: the ids of experiments, evaluations, and versions still being made."""
    unmade = select(Dataset.id).where(
        Dataset.line == dataset.line, Dataset.parent_number == dataset.number, Dataset.status == "pending"
    )
    return {
        "experiments": list(db.session.scalars(select(Experiment.id).where(Experiment.dataset_id == dataset.id))),
        "studies": list(db.session.scalars(select(Study.id).where(Study.dataset_id == dataset.id))),
        "searches": list(db.session.scalars(select(Search.id).where(Search.dataset_id == dataset.id))),
        "learning rate searches": list(
            db.session.scalars(select(RateSearch.id).where(RateSearch.dataset_id == dataset.id))
        ),
        "evaluations": list(db.session.scalars(select(Evaluation.id).where(Evaluation.dataset_id == dataset.id))),
        "data sets": list(db.session.scalars(unmade)),
    }


def delete(dataset: Dataset, user: User) -> None:
    """Forgets a data set that nothing depends on, and its bytes. Raises Conflict.

    Bytes that another row needs stay. While another data set comes in, which may be about to name the same bytes, all
    stay for the janitor.
    """
    users: Any = {kind: ids for kind, ids in dependants(dataset).items() if ids}
    if users:
        named = "; ".join(f"{kind} {', '.join(map(str, ids))}" for kind, ids in users.items())
        raise Conflict(f"Data set {dataset.id} is used by {named}. It cannot be deleted while they exist.")
    audit.record("dataset.delete", dataset, user, name=dataset.name, sha256=dataset.sha256)
    addresses = {dataset.manifest_sha256, *dataset.pack_sha256s, *(dataset.archive_part_sha256s or [])} - {None}
    others = Dataset.line == dataset.line, Dataset.given_number < dataset.number
    db.session.execute(update(Dataset).where(*others).values(given_number=dataset.number))
    db.session.delete(dataset)
    db.session.commit()
    if not db.session.scalar(select(Dataset.id).where(Dataset.status == "pending").limit(1)):
        for address in addresses - objects.in_use():
            store().delete(address)

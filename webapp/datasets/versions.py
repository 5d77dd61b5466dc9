"""Versions of data sets: each change makes the next version of the line; nothing is edited in place."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from ml.manifest import ImageRow
from ml.revision import Change
from webapp import audit, queue
from webapp.datasets import contents
from webapp.errors import Conflict, Invalid
from webapp.models import Dataset, Experiment, ModelVersion, User, db


def line_of(dataset: Dataset) -> list[Dataset]:
    """All versions of the data set that still exist, newest first."""
    same = select(Dataset).where(Dataset.line == dataset.line)
    return list(db.session.scalars(same.order_by(Dataset.number.desc())))


def change(dataset: Dataset, wanted: Change, user: User) -> Dataset:
    """The next version, which a worker makes. Raises Conflict where the data set is not ready."""
    made = _add(dataset, wanted, user)
    _commit(dataset)
    queue.ring(queue.INGEST, made.id)
    return made


def _add(dataset: Dataset, wanted: Change, user: User) -> Dataset:
    if dataset.status != "ready":
        raise Conflict(f"Data set {dataset.id} is {dataset.status}; only a ready one can be changed.")
    newest = db.session.scalar(select(func.max(Dataset.number)).where(Dataset.line == dataset.line)) or dataset.number
    made = Dataset(
        name=dataset.name,
        line=dataset.line,
        number=newest + 1,
        parent_number=dataset.number,
        change=wanted.model_dump(mode="json"),
        options=dataset.options,
        created_by=user,
    )
    db.session.add(made)
    try:
        db.session.flush()
    except IntegrityError as error:
        raise _taken(dataset) from error
    audit.record("dataset.change", made, user, parent=dataset.id)
    return made


def _commit(dataset: Dataset) -> None:
    try:
        db.session.commit()
    except IntegrityError as error:
        raise _taken(dataset) from error


def _taken(dataset: Dataset) -> Conflict:
    db.session.rollback()
    return Conflict(f"Somebody else changed data set {dataset.name} at this moment. Look at it again, and try again.")


def paths_of(dataset: Dataset, numbers: Iterable[int]) -> list[str]:
    """The paths of the images in these rows. Raises Invalid."""
    rows = contents.manifest_of(dataset).rows
    chosen = sorted(set(numbers))
    if not chosen:
        raise Invalid("No image is chosen. Tick the images that are meant.")
    if chosen[0] < 0 or chosen[-1] >= len(rows):
        raise Invalid(f"The data set has no image {chosen[-1]}; it has {len(rows)}.")
    return [rows[number].path for number in chosen]


def contradictions(dataset: Dataset) -> list[list[tuple[int, ImageRow]]]:
    """The clusters in quarantine: numbered rows that show one picture under several labels."""
    found: dict[int | None, list[tuple[int, ImageRow]]] = {}
    for number, row in enumerate(contents.manifest_of(dataset).rows):
        if row.quarantined:
            found.setdefault(row.cluster, []).append((number, row))
    return list(found.values())


@dataclass(frozen=True)
class Removal:
    """What taking a group out touches: what goes from which newest version, and the models that learned from it."""

    changes: list[tuple[Dataset, Change]]
    models: list[ModelVersion]


def plan_removal(dataset: Dataset, group: str) -> Removal:
    """What `remove_group` would do. Raises Invalid where the data set has no such group.

    Other lines may hold the same images under other names: they are known by their pixels.
    """
    pixels = {row.sha256 for row in contents.manifest_of(dataset).rows if row.group == group}
    if not group or not pixels:
        raise Invalid(f"Data set {dataset.id} has no group '{group}'.")
    changes, held = [], []
    for other in db.session.scalars(select(Dataset).where(Dataset.status == "ready").order_by(Dataset.id)):
        rows = contents.manifest_of(other).rows
        named = [row for row in rows if other.line == dataset.line and row.group == group]
        copies = [row.path for row in rows if row.sha256 in pixels and row not in named]
        if named or copies:
            held.append(other.id)
            if other is line_of(other)[0]:
                changes.append((other, Change(removed_groups=[group] if named else [], excluded=copies)))
    learned = select(ModelVersion).join(Experiment).where(Experiment.dataset_id.in_(held)).order_by(ModelVersion.id)
    return Removal(changes, list(db.session.scalars(learned)))


def remove_group(dataset: Dataset, group: str, user: User) -> list[Dataset]:
    """Takes a group (a patient) out of the newest version of every line, and marks the models that learned from it.

    One transaction. Older versions still hold the bytes until they are deleted. Raises Invalid, Conflict.
    """
    removal = plan_removal(dataset, group)
    made = [_add(other, wanted, user) for other, wanted in removal.changes]
    for model in removal.models:
        model.removed_groups = sorted({*model.removed_groups, group})
    audit.record("dataset.remove_group", dataset, user, group=group, models=[model.id for model in removal.models])
    _commit(dataset)
    for one in made:
        queue.ring(queue.INGEST, one.id)
    return made

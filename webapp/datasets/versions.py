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
from webapp.models import Dataset, Experiment, ModelVersion, User, db, take_turns


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
    given = select(func.max(Dataset.number), func.max(Dataset.given_number)).where(Dataset.line == dataset.line)
    made = Dataset(
        name=dataset.name,
        line=dataset.line,
        number=max(db.session.execute(given).one()) + 1,
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
    """What taking a group out touches: what goes from which newest version, and the models that learned from it.

    `looked_at` are the ids of all data sets that were ready.
    """

    looked_at: set[int]
    changes: list[tuple[Dataset, Change]]
    held: list[Dataset]
    models: list[ModelVersion]


def plan_removal(dataset: Dataset, group: str) -> Removal:
    """What `remove_group` would do. Raises Invalid where the data set has no such group.

    Other lines may hold the same images under other names: they are known by their pixels.
    """
    pixels = {row.sha256 for row in contents.manifest_of(dataset).rows if row.group == group}
    if not group or not pixels:
        raise Invalid(f"Data set {dataset.id} has no group '{group}'.")
    changes, held = [], []
    newest, looked_at = _newest(), _ready_ids()
    for other in db.session.scalars(select(Dataset).where(Dataset.id.in_(looked_at)).order_by(Dataset.id)):
        rows = contents.manifest_of(other).rows
        named = [other.line == dataset.line and row.group == group for row in rows]
        copies = [row.path for row, is_named in zip(rows, named, strict=True) if row.sha256 in pixels and not is_named]
        if any(named) or copies:
            held.append(other)
            if other.id == newest[other.line]:
                changes.append((other, Change(removed_groups=[group] if any(named) else [], excluded=copies)))
    _refuse_unfinished({other.line for other in held})
    return Removal(looked_at, changes, held, learned_from({other.id for other in held}))


def _newest() -> dict[str, int]:
    """The id of the newest ready version of each line; one that failed is no version to look at."""
    ready = select(Dataset).where(Dataset.status == "ready").order_by(Dataset.number)
    return {one.line: one.id for one in db.session.scalars(ready)}


def _ready_ids() -> set[int]:
    return set(db.session.scalars(select(Dataset.id).where(Dataset.status == "ready")))


def _refuse_unfinished(lines: set[str]) -> None:
    """Refuses while a version is made from one that may hold the group: it would bring the group back."""
    unfinished = select(Dataset).where(Dataset.line.in_(lines), Dataset.status == "pending")
    for one in db.session.scalars(unfinished.limit(1)):
        raise Conflict(f"Version {one.number} of {one.name} is being made. Remove the group when it is ready.")


def learned_from(dataset_ids: set[int]) -> list[ModelVersion]:
    """The models that were trained on these data sets, and those that began with the weights of such a model."""
    found: dict[int, ModelVersion] = {}
    for model in db.session.scalars(select(ModelVersion).order_by(ModelVersion.id)):  # the older one has the lower id
        if model.experiment.dataset_id in dataset_ids or origin_of(model.experiment) in found:
            found[model.id] = model
    return list(found.values())


def origin_of(experiment: Experiment) -> int | None:
    """The id of the model version whose weights the training began with."""
    kind, _, version_id = str(experiment.config.get("initial_weights", "")).partition(":")
    return int(version_id) if kind == "version" else None


def groups_taken_out_since(experiment: Experiment) -> list[str]:
    """The groups that the model of this training learns from though they were removed: while it ran, or before."""
    origin = db.session.get(ModelVersion, origin_of(experiment) or 0)
    inherited = origin.removed_groups if origin else []
    return sorted({*experiment.dataset.report.get("removed_groups", []), *inherited})


def remove_group(dataset: Dataset, group: str, user: User) -> list[Dataset]:
    """Takes a group (a patient) out of the newest version of every line, and marks the models that learned from it.

    One transaction. Older versions still hold the bytes until they are deleted. Raises Invalid, Conflict.
    """
    removal = plan_removal(dataset, group)
    take_turns()  # the plan takes its time; a model may have come meanwhile
    db.session.expire_all()
    _refuse_unfinished({other.line for other in removal.held})
    if _ready_ids() != removal.looked_at:
        raise Conflict("A data set became ready, or went, at this moment. Look again at what would be removed.")
    models = learned_from({other.id for other in removal.held})
    for other in removal.held:  # what is trained on it from now on, or is being trained, must be marked as well
        other.report = other.report | {"removed_groups": sorted({*other.report.get("removed_groups", []), group})}
    made = [_add(other, wanted, user) for other, wanted in removal.changes]
    for model in models:
        model.removed_groups = sorted({*model.removed_groups, group})
    audit.record("dataset.remove_group", dataset, user, group=group, models=[model.id for model in models])
    _commit(dataset)
    for one in made:
        queue.ring(queue.INGEST, one.id)
    return made

"""Versions side by side: what was set differently, and whether it made a difference on the same images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from ml.config import TrainConfig
from webapp import forms
from webapp.errors import Conflict, Invalid
from webapp.models import MAX_ID, Dataset, Evaluation, Experiment, ModelVersion, db
from webapp.registry import looks, paired, service
from webapp.registry.paired import OnSameImages
from webapp.studies import members

MOST = 6  # versions: each pair of them is tested
PREFERRED_SPLITS = ("test", "all", "validation", "train")


@dataclass(frozen=True)
class Setting:
    """One line of the configurations: its value in each version."""

    name: str
    title: str
    values: list[Any]

    @property
    def differs(self) -> bool:
        return any(value != self.values[0] for value in self.values)


@dataclass(frozen=True)
class Ground:
    """A split of a data set on which some of the versions were evaluated: the newest evaluation of each, or None.

    The split of each fold is a ground of its own.
    """

    dataset: Dataset
    split: str
    evaluations: list[Evaluation | None]

    @property
    def is_common(self) -> bool:
        return None not in self.evaluations


@dataclass(frozen=True)
class Compared:
    """Two or more versions; `shown` is None without a common ground, or where `problem` says what is in the way.

    `advised` is where those that are `missing` there should be evaluated, so that all have something in common.
    """

    versions: list[ModelVersion]
    settings: list[Setting]
    grounds: list[Ground]
    ground: Ground | None
    shown: OnSameImages | None
    problem: str | None
    advised: Ground | None
    missing: list[ModelVersion]


def compare(versions: list[ModelVersion], dataset_id: int | None = None, split: str | None = None) -> Compared:
    """All that is known of the versions side by side. Raises Invalid where the asked-for ground is not common."""
    found = grounds(versions)
    ground = choose_ground(found, dataset_id, split)
    shown, problem, advised = None, None, None
    missing: list[ModelVersion] = []
    if ground:
        try:
            shown = paired.on_same_images([one for one in ground.evaluations if one], versions[0].positive_class)
        except Conflict as error:
            problem = str(error)
    elif any(set(version.classes) != set(versions[0].classes) for version in versions):
        problem = (
            "These versions know different classes, so they have no images in common to be compared on. "
            "Choose versions of the same classes."
        )
    elif advised := _advised(versions, found):
        images = "all images" if advised.split == "all" else f"the {advised.split} images"
        missing = [version for version, one in zip(versions, advised.evaluations, strict=True) if one is None]
        names = f"version{'s' if len(missing) > 1 else ''} {' and '.join(str(version.id) for version in missing)}"
        problem = (
            "These versions were not evaluated on one split of one version of a data set. "
            f"Evaluate {names} on {images} of {advised.dataset.name}, version {advised.dataset.number}, "
            "then compare again."
        )
    else:
        problem = (
            "A fold has test images of its own, so these versions judge different ones. Bring in another data set of "
            "these classes and evaluate each version on all of it, or read in the study the scores of all its folds."
        )
    return Compared(versions, settings_of(versions), found, ground, shown, problem, advised, missing)


def _advised(versions: Sequence[ModelVersion], found: Sequence[Ground]) -> Ground | None:
    """Test images on which most of the versions were evaluated already; None where there is no place for all."""
    if any(members.fold_of(version.experiment) for version in versions):
        return _advised_for_folds(versions, found)
    tested = [one for one in found if one.split in looks.OF_TEST_IMAGES]
    if not tested:
        return Ground(versions[-1].experiment.dataset, "test", [None] * len(versions))
    return max(tested, key=lambda one: (-one.evaluations.count(None), one.split == "test", one.dataset.id))


def _advised_for_folds(versions: Sequence[ModelVersion], found: Sequence[Ground]) -> Ground | None:
    """All images of a data set that none of the versions comes from; of several the newest."""
    lines = {version.experiment.dataset.line for version in versions}
    newest = next((one for one in service.fitting_datasets(versions[0]) if one.line not in lines), None)
    if newest is None:
        return None
    known = (one for one in found if one.dataset.id == newest.id and one.split == "all")
    return next(known, Ground(newest, "all", [None] * len(versions)))


def chosen(texts: Sequence[str]) -> list[ModelVersion]:
    """The versions of these numbers, in their order, each once. Raises Invalid, NotFound."""
    numbers = list(dict.fromkeys(map(_number, texts)))
    if len(numbers) < 2:
        raise Invalid("Choose at least two different versions to compare.", {"version": "two or more"})
    if len(numbers) > MOST:
        raise Invalid(
            f"{len(numbers)} versions are chosen; at most {MOST} are compared at once. Choose fewer.",
            {"version": f"at most {MOST}"},
        )
    return [service.get(number) for number in numbers]


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > len(str(MAX_ID)):
        raise Invalid(f"'{text[:20]}' is not the number of a version.", {"version": "a whole number"})
    return int(text)


def settings_of(versions: Sequence[ModelVersion]) -> list[Setting]:
    """The data, with the fold, and every hyper-parameter; what an older version does not name had today's default."""
    settings = [Setting("dataset", "Data set", [_data_of(version.experiment) for version in versions])]
    columns = [_fields(version) for version in versions]
    for fields in zip(*columns, strict=True):
        title = fields[0][0]
        settings.append(Setting(fields[0][1].name, title, [field.value for _, field in fields]))
    return settings


def _data_of(experiment: Experiment) -> str:
    fold, dataset = members.fold_of(experiment), experiment.dataset
    return f"{dataset.name}, version {dataset.number}" + (f", fold {fold[0]} of {fold[1]}" if fold else "")


def _fields(version: ModelVersion) -> list[tuple[str, forms.Field]]:
    values = forms.flatten(version.experiment.config, "config")
    groups = forms.groups_of(TrainConfig, "config", values, {})
    return [
        (f"{group.title}: {field.label}" if group.title else field.label, field)
        for group in groups
        for field in group.fields
    ]


def grounds(versions: Sequence[ModelVersion]) -> list[Ground]:
    """Where the versions were evaluated: what all have in common first, then test images, then the newest data."""
    wanted = select(Evaluation).where(
        Evaluation.version_id.in_([version.id for version in versions]),
        Evaluation.status == "succeeded",
    )
    newest: dict[tuple[int, str, Any], dict[int, Evaluation]] = {}
    for evaluation in db.session.scalars(wanted.order_by(Evaluation.id)):
        place = (evaluation.dataset_id, evaluation.split, members.fold_scored(evaluation))
        newest.setdefault(place, {})[evaluation.version_id] = evaluation
    found = [
        Ground(next(iter(of.values())).dataset, split, [of.get(version.id) for version in versions])
        for (_, split, _), of in newest.items()
    ]
    return sorted(found, key=lambda one: (not one.is_common, PREFERRED_SPLITS.index(one.split), -one.dataset.id))


def choose_ground(found: Sequence[Ground], dataset_id: int | None, split: str | None) -> Ground | None:
    """The asked-for common ground, or the best; None where there is none. Raises Invalid where it is not common."""
    common = [one for one in found if one.is_common]
    if dataset_id is None and not split:
        return common[0] if common else None
    for one in common:
        if dataset_id in (None, one.dataset.id) and split in (None, "", one.split):
            return one
    raise Invalid(
        f"Not all of these versions were evaluated on {split[:20] if split else 'a split'} of data set "
        f"{dataset_id or 'any'}. "
        "Evaluate each of them there, or leave dataset and split out."
    )

"""The rival of a version in its report: the version that serves, or the one it began with, on the same test images."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ml.comparison import Pair
from webapp.datasets.versions import origin_of
from webapp.errors import Conflict
from webapp.models import Evaluation, ModelVersion, find
from webapp.registry import comparison, looks, paired, service
from webapp.registry.comparison import Ground
from webapp.storage import DamagedObject, MissingObject

Role = Literal["serves", "parent"]


@dataclass(frozen=True)
class OnGround:
    """What the two say of the same images: each list holds the rival's first, then this version's."""

    evaluations: list[Evaluation]
    trained_on: list[int]  # images from which each has learned
    pair: Pair


@dataclass(frozen=True)
class Rival:
    """Another version beside this one; `found` is None where `problem` says what is in the way."""

    version: ModelVersion
    role: Role
    found: OnGround | None
    problem: str | None


def of(version: ModelVersion) -> Rival | None:
    """The first of those of the same classes that can be compared, else the first; None where there is no other."""
    candidates = [(other, role) for other, role in _candidates(version) if set(other.classes) == set(version.classes)]
    rivals = [_beside(version, other, role) for other, role in candidates]
    return next((one for one in rivals if one.found), rivals[0] if rivals else None)


def _candidates(version: ModelVersion) -> Iterator[tuple[ModelVersion, Role]]:
    serving = service.active()
    if serving and serving.version_id != version.id:
        yield serving.version, "serves"
    parent = find(ModelVersion, origin_of(version.experiment) or 0)
    if parent and not (serving and serving.version_id == parent.id):
        yield parent, "parent"


def _beside(version: ModelVersion, other: ModelVersion, role: Role) -> Rival:
    ground = _ground([other, version])
    if ground is None:
        return Rival(other, role, None, "The two were not evaluated on the same test images.")
    both = [one for one in ground.evaluations if one]
    try:
        shown = paired.on_same_images(both, version.positive_class)
    except (Conflict, MissingObject, DamagedObject):
        return Rival(other, role, None, "Their answers for single images are not at hand.")
    return Rival(other, role, OnGround(both, shown.learned, shown.tests[0].pair), None)


def _ground(versions: list[ModelVersion]) -> Ground | None:
    """Test images on which both were evaluated, or all images of a data set."""
    common = (one for one in comparison.grounds(versions) if one.is_common)
    return next((one for one in common if one.split in looks.OF_TEST_IMAGES), None)

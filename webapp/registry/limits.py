"""The limits of a version that the rows know: what its scores do not say, in sentences."""

from typing import Any

from webapp.models import Experiment
from webapp.registry.material import Material
from webapp.registry.partitions import Partitions
from webapp.studies import members

FEW_IMAGES = 100
FEW_GROUPS = 20


def of(known: Material) -> list[str]:
    """The sentences; what a person knows beyond the rows comes on top."""
    looks = known.ledger.looks
    limits = [*_of_images(known.metrics), *_of_splits(known.partitions)]
    if looks > 1:
        limits.append(f"The test images were looked at {looks} times: the scores are no longer those of a fresh set.")
    if not known.external:
        limits.append("It was not tested on other data.")
    limits.append(_of_one_training(known.version.experiment))
    if known.tuning:
        limits.append(
            f"It is one of {known.tuning.trials} trials: the best of so many validation scores is too good by chance, "
            "and so is its test score if somebody chose by that."
        )
    if not known.stressed:
        limits.append("Robustness to blur, noise, brightness and compression was not measured for this page.")
    return limits


def _of_images(metrics: dict[str, Any] | None) -> list[str]:
    if not metrics:
        return []
    n, groups = metrics["n"], (metrics.get("intervals") or {}).get("groups")
    limits = [f"The scores speak of {n} images of one data set; other devices, sites and case mixes can break them."]
    if n < FEW_IMAGES:
        limits.append(f"Fewer than {FEW_IMAGES} test images: the intervals, not the values, are the result.")
    if groups and groups < FEW_GROUPS:
        limits.append(f"Fewer than {FEW_GROUPS} groups: read every interval as a lower limit of the doubt.")
    return limits


def _of_splits(found: Partitions) -> list[str]:
    limits = []
    if not found.grouped:
        limits.append("No patients are known: images of one patient may lie in two splits, which flatters every score.")
    if found.leaks:
        limits.append(f"{found.leaks} images have their group or a copy in another split: the scores are too good.")
    return limits


def _of_one_training(experiment: Experiment) -> str:
    study = experiment.study
    other = "another seed or fold" if study and study.kind == "folds" else "another seed"
    told = f"; the study “{study.name}”, of which this is {members.name_of(experiment)}, tells" if study else ""
    return f"One training run: how much {other} would change is not in these intervals{told}."

"""What the rows say to the items of the annex: each fact a sentence or a place in the report."""

from typing import Any

from webapp.models import Experiment, ModelVersion
from webapp.registry.annex import Fact
from webapp.registry.material import Material
from webapp.registry.tuning import Tuning
from webapp.studies import members


def of(known: Material) -> dict[str, Fact]:
    """The facts by the names that the annex asks for; one that the rows do not hold is missing."""
    told = _of_data(known) | _of_model(known) | _of_scores(known) | _of_tests(known)
    if known.version.intended_use:
        told |= _of_use(known.version)
    return {name: fact for name, fact in told.items() if fact.text}


def _of_use(version: ModelVersion) -> dict[str, Fact]:
    writer = f" by {version.intended_use_by.email}" if version.intended_use_by else ""
    return {
        "use": Fact(f"Intended use, written{writer}: section 1.", "Background, clinical role"),
        "purpose": Fact(f"Intended use, written{writer}: section 1.", "Whether it names population, purpose and users"),
    }


def _of_data(known: Material) -> dict[str, Fact]:
    dataset, config = known.dataset, known.version.experiment.config
    size = (known.card.get("input") or {}).get("size_px")
    prepared = f"Upright, eight bits, resized to {size} × {size} px, scaled within the graph." if size else ""
    return {
        "source": Fact(f"{dataset.source_name or 'An uploaded archive'}: section 3.", "Origin and collection"),
        "preprocessing": Fact(prepared),
        "subsets": Fact("Files that fell out, and why: section 3."),
        "privacy": Fact("Stored pixels carry no metadata.", "Burnt-in text, and the source"),
        "missing": Fact("Unreadable files are rejected and listed; images without a label are left out: section 3."),
        "assignment": Fact(_assignment(known.version.experiment)),
        "level": Fact("" if known.partitions.leaks is None else known.level),
        "flow": Fact("Section 3."),
        "makeup": Fact("Images and groups by split and class: section 3.", "Clinical characteristics"),
        "outcome": Fact(f"The class of the archive: {', '.join(known.version.classes)}.", "How it was found"),
        "predictors": Fact("The pixels of one image; none is chosen or assessed by hand."),
        "imbalance": Fact(f"Class weighting: {config.get('class_weighting', 'none')}. Counts in section 3."),
        "input": Fact("What cannot be decoded is refused.", "The quality of images at use"),
    }


def _of_model(known: Material) -> dict[str, Fact]:
    version, config = known.version, known.version.experiment.config
    parameters = f"{known.card.get('parameters', 0):,} parameters"
    return {
        "kind": Fact(f"Deep learning, image classification: {version.network}."),
        "model": Fact(f"{version.network}, {parameters}; softmax of the exported ONNX graph."),
        "software": Fact("Section 2."),
        "initial": Fact(f"Initial weights: {config.get('initial_weights', 'none')}."),
        "training": Fact(f"Configuration in section 2. {_searched(known.tuning)}".strip()),
        "tuning": _tuned(known.tuning),
        "selection": Fact(f"The best epoch on validation, never on test. {_chosen(known.tuning)}".strip()),
        "ensemble": Fact(f"No ensemble. {_averaged(config)}".strip()),
        "limits": Fact("Section 9.", "Further limits"),
        "details": Fact(f"Section 2; weights as files of version {version.id}, addressed by sha256."),
        "availability": Fact("Code by commit and hash: section 2.", "Whether it is shared"),
        "updating": Fact("None: a version never changes."),
        "maps": Fact("Class activation maps, with sanity checks of them: section 6." if known.card.get("maps") else ""),
    }


def _averaged(config: dict[str, Any]) -> str:
    """Which copies of an image are judged beside it."""
    return {
        (True, False): "Image and mirror image are averaged.",
        (False, True): "The image and two copies of it, shifted by a pixel, are averaged.",
        (True, True): "Image, mirror image and two copies of each, shifted by a pixel, are averaged.",
    }.get((bool(config.get("flip_at_test")), bool(config.get("shift_at_test"))), "")


def _of_scores(known: Material) -> dict[str, Fact]:
    metrics, among = known.metrics, known.study
    spread = f" Over {among.finished} trainings: section 6." if among and among.finished > 1 else ""
    if known.rival and known.rival.found:
        spread += f" Paired tests against version {known.rival.version.id}: section 6."
    if not metrics:
        return {"uncertainty": Fact(spread.strip())}
    method = (metrics.get("intervals") or {}).get("method", "by formula")
    has_patients = metrics.get("group_level") or metrics.get("per_group")
    return {
        "metrics": Fact("Section 6."),
        "uncertainty": Fact(f"95 % intervals, {method}: section 6.{spread}"),
        "internal": Fact(f"{metrics['n']} test images of the same data set: section 6."),
        "point": Fact("Section 6, operating point."),
        "patients": Fact("Section 7." if has_patients else ""),
        "clusters": _clusters(known),
    }


def _clusters(known: Material) -> Fact:
    """Whether images of one group (patient) were treated as alike; empty where no groups are known."""
    found, intervals = known.partitions, (known.metrics or {}).get("intervals")
    if not found.grouped or not intervals:  # scores of an early release do not say how their intervals came about
        return Fact("")
    drawn = intervals["groups"]
    treated = (
        f"Intervals by drawing {drawn} whole groups (patients): section 6."
        if drawn
        else "No group (patient) has several test images; each image counts as independent."
    )
    alone = found.images - found.quarantined - found.grouped
    return Fact(treated, f"The group of {alone} images" if alone else None)


def _of_tests(known: Material) -> dict[str, Fact]:
    """What was tried beyond the scores."""
    told: dict[str, Any] = {}
    if known.evaluation and known.evaluation.confident_errors:
        told["failures"] = Fact("Section 7, the surest errors; the images are on the page of the version.")
    if known.breakdown and known.breakdown.given:
        by = ", ".join(known.breakdown.given)
        told["fairness"] = Fact(f"Scores by {by}: section 7.", "Whether these are the groups that matter")
    if known.external:
        told["external"] = Fact("Scored on other data sets, section 6.", "Whether they are external")
    if known.stressed:
        told["robustness"] = Fact("Section 6, under changes of the images.")
    return told


def _tuned(tuning: Tuning | None) -> Fact:
    if tuning is None:
        return Fact("Configuration in section 2; no search chose it.", "How its settings were found")
    return Fact(f"Configuration in section 2. {_searched(tuning)}")


def _searched(tuning: Tuning | None) -> str:
    """What varied, and how often."""
    if tuning is None:
        return ""
    return f"{tuning.place}, {tuning.verdict}. What varied: {', '.join(tuning.settings)}."


def _chosen(tuning: Tuning | None) -> str:
    return f"{tuning.place}, {tuning.verdict}." if tuning else ""


def _assignment(experiment: Experiment) -> str:
    """How the images were assigned to splits."""
    if fold := members.fold_of(experiment):
        number, k, seed = fold
        return f"Fold {number} of {k} judges, the next one chooses. Cut by groups and copies, seed {seed}: section 4."
    seed = experiment.dataset.options.get("seed", 0)
    return f"Seed {seed}, whole groups and copies, or the archive's: section 4."

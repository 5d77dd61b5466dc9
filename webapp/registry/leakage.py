"""The leakage checklist: questions whose good answer is yes, answered from the rows."""

from dataclasses import dataclass
from typing import Literal

from ml import domain
from ml.artifact import MODEL_FILES
from webapp.datasets.versions import origin_of
from webapp.errors import Conflict
from webapp.models import Evaluation, Experiment, ModelVersion
from webapp.registry import answers
from webapp.registry.looks import Ledger
from webapp.registry.material import Material
from webapp.registry.partitions import Partitions
from webapp.registry.tuning import Tuning
from webapp.storage import DamagedObject, MissingObject
from webapp.studies import members

Answer = Literal["yes", "no", "unknown"]


@dataclass(frozen=True)
class Check:
    """One question, its answer and where that comes from."""

    question: str
    answer: Answer
    because: str


def checklist(known: Material) -> list[Check]:
    """All checks; what the rows cannot tell is unknown and stays a person's task."""
    version, found = known.version, known.partitions
    return [
        _of_count(
            "Are all test images absent from training, pixel for pixel?", found.shared_pixels, "shared with train"
        ),
        _groups(found),
        _of_count("Do copies and near copies lie in one split only?", found.copy_leaks, "with a copy in another split"),
        _same_data(version),
        Check("Was the epoch chosen without test images?", "yes", "The best epoch is that of the validation split."),
        _settings(known.tuning, known.ledger),
        _point((known.metrics or {}).get("operating_point") or known.card.get("operating_point")),
        _fitted(version),
        _weights(version),
        _looks(known.ledger),
        _removed(version),
        _marks(version),
        _external(known.external),
        Check(
            "Do all classes come from the same devices, sites and protocols?",
            "unknown",
            "The rows do not tell. A model may learn the device instead of the disease.",
        ),
    ]


def _of_count(question: str, count: int | None, what: str) -> Check:
    if count is None:
        return Check(question, "unknown", "The list of images is not at hand.")
    return Check(question, "no" if count else "yes", f"{count or 'No'} images {what}.")


def _groups(found: Partitions) -> Check:
    question = "Do the images of a group (patient) lie in one split only?"
    if found.group_leaks:
        return Check(question, "no", f"{found.group_leaks} images have their group in another split.")
    if found.group_leaks is None or not found.grouped:
        return Check(question, "unknown", "No groups are known: name the patient in the path, or in a label table.")
    alone = found.images - found.quarantined - found.grouped
    if alone:
        return Check(question, "unknown", f"No known group is divided, but {alone} images have none.")
    return Check(question, "yes", f"All {found.grouped} images have a group and none is divided.")


def _same_data(version: ModelVersion) -> Check:
    question = "Were the splits fixed before training, and unchanged since?"
    noted = (version.card.get("dataset") or {}).get("sha256")
    if noted is None:
        return Check(question, "unknown", "The card does not name the data by its hash.")
    try:
        found = _content_sha256(version.experiment)
    except (Conflict, MissingObject, DamagedObject):
        return Check(question, "unknown", "The list of images is not at hand.")
    if noted == found:
        return Check(question, "yes", "The hash of paths, labels, splits, groups and pixels is the one on the card.")
    return Check(question, "no", "The hash on the card is not that of the data set.")


def _content_sha256(experiment: Experiment) -> str | None:
    if members.fold_of(experiment) is None:
        return experiment.dataset.sha256
    return members.manifest_for(experiment, experiment.dataset).content_sha256()


def _settings(tuning: Tuning | None, ledger: Ledger) -> Check:
    question = "Were the settings chosen without test images?"
    if tuning is None and ledger.versions <= 1:
        return Check(question, "yes", "No other version was scored on these test images before.")
    if tuning is None:
        because = (
            "No search chose them. Whether test scores of other versions did, the rows do not tell; see the ledger."
        )
        return Check(question, "unknown", because)
    if tuning.best == tuning.trial:
        return Check(question, "yes", f"{tuning.place}, {tuning.verdict}; a search asks no test image.")
    because = f"{tuning.place}, {tuning.verdict}. Why this one is taken, the rows do not tell."
    return Check(question, "unknown", because)


def _point(point: dict[str, str] | None) -> Check:
    question = "Was the operating point chosen without test images?"
    if point is None:
        return Check(question, "yes", "None was chosen: the most probable class, or a threshold of 0.5.")
    answer: Answer = "yes" if point.get("chosen_on") == "validation" else "no"
    return Check(question, answer, f"It was chosen on the {point.get('chosen_on')} split.")


def _fitted(version: ModelVersion) -> Check:
    """By construction: nothing that is fitted to images is handed those of test."""
    fitted = ["batch norm where it learns"]
    if version.network == "cnn_fast" and version.experiment.config.get("initial_weights", "none") == "none":
        fitted.append("the whitening of cnn_fast")
    if MODEL_FILES["int8"] in version.files:
        fitted.append("the ranges of the int8 graph")
    guard = ""
    if domain.NAME in version.files:
        fitted.append("the reference of the guard")
        guard = " The limits of the guard are fitted to validation images too."
    listed = " and ".join([", ".join(fitted[:-1]), fitted[-1]]) if fitted[1:] else fitted[0]
    return Check(
        "Is what is fitted to images free of the test images?",
        "yes",
        f"Size and scaling are constants of the network. Fitted to training images: {listed}.{guard}",
    )


def _weights(version: ModelVersion) -> Check:
    question = "Are the test images absent from what the initial weights learned from?"
    begun_with = str(version.experiment.config.get("initial_weights", "none"))
    if begun_with == "none":
        return Check(question, "yes", "Training began with random weights.")
    if origin_of(version.experiment) is None:
        return Check(question, "unknown", f"The weights “{begun_with}” were trained elsewhere.")
    try:
        tested = members.manifest_for(version.experiment, version.experiment.dataset).of_split("test")
        learned = int(answers.is_learned(version, tested).sum())
    except (Conflict, MissingObject, DamagedObject):
        return Check(question, "unknown", "The lists of images are not at hand.")
    return _of_count(question, learned, f"were training images of this version or of {begun_with}")


def _looks(ledger: Ledger) -> Check:
    question = "Were the test images looked at once only?"
    if not ledger.looks:
        return Check(question, "yes", "Nobody has looked at them yet.")
    times = f"{ledger.looks} time{'s' if ledger.looks != 1 else ''} by {ledger.versions} version"
    because = f"They were looked at {times}{'s' if ledger.versions != 1 else ''}, see the ledger."
    return Check(question, "yes" if ledger.looks == 1 else "no", because)


def _removed(version: ModelVersion) -> Check:
    question = "Is the model free of groups that were removed later?"
    count = len(version.removed_groups)
    if not count:
        return Check(question, "yes", "None that it learned from was removed since.")
    return Check(question, "no", f"{count} that it learned from were removed since. Train anew.")


def _marks(version: ModelVersion) -> Check:
    question = "Are the images free of marks that could give the class away?"
    marked = sum(
        issue["count"]
        for issue in version.experiment.dataset.report.get("issues", [])
        if issue["kind"] in ("burnt_in_marks", "border")
    )
    if marked:
        return Check(question, "unknown", f"{marked} images have marks or frames near the edge: look at them by class.")
    return Check(question, "unknown", "The check of the edges found none; a person must look at the images.")


def _external(external: list[Evaluation]) -> Check:
    question = "Was it tested on data of another origin?"
    if not external:
        return Check(question, "no", "No finished evaluation on another line of data sets.")
    names = ", ".join(sorted({row.dataset.name for row in external}))
    return Check(question, "unknown", f"Scored on {names}; whether these are of another origin, a person must say.")

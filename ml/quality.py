"""What is wrong with a data set. A row's `issues` name the kinds; a finding sums them up for people."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.config import SPLITS, Frozen
from ml.manifest import ImageRow, Manifest

Severity = Literal["info", "warning", "error"]

TINY_PX = 16
IMBALANCE = 10
MAX_EXAMPLES = 20

# kind: (severity, message)
_OF_IMAGES: dict[str, tuple[Severity, str]] = {
    "same_pixels_two_labels": (
        "error",
        "Images that have the same pixels as an image of another class: {count}. One label is wrong.",
    ),
    "copy_across_splits": (
        "error",
        "Images with an exact copy in another split: {count}. Scores there are too good; take the copies out.",
    ),
    "exact_copy": ("warning", "Images that are exact copies of one another: {count}."),
    "no_group": ("warning", "Images whose path the group pattern does not match: {count}. Each is split as if alone."),
    "constant_image": ("warning", "Images of a single colour: {count}."),
    "tiny_image": ("warning", f"Images with a side below {TINY_PX} px: {{count}}."),
}


class Refused(Frozen):
    """A file that did not become an image of the data set. The first sentence of the reason is its kind."""

    path: str
    reason: str


class Issue(Frozen):
    """One finding; `examples` are up to 20 paths."""

    kind: str
    severity: Severity
    count: int
    message: str
    examples: list[str]


def of_image(image_HWC: NDArray[np.uint8]) -> list[str]:
    """Kinds of issues that one image shows by itself."""
    issues = []
    if (image_HWC == image_HWC[0, 0]).all():
        issues.append("constant_image")
    if min(image_HWC.shape[:2]) < TINY_PX:
        issues.append("tiny_image")
    return issues


def of_copies(labels: Sequence[str], splits: Sequence[str], hashes: Sequence[str]) -> list[list[str]]:
    """Kinds of issues of each image that has the same pixels as others."""
    together: dict[str, list[int]] = defaultdict(list)
    for index, pixels in enumerate(hashes):
        together[pixels].append(index)
    issues: list[list[str]] = [[] for _ in hashes]
    for indices in together.values():
        kinds = {
            "exact_copy": len(indices) > len({labels[index] for index in indices}),
            "same_pixels_two_labels": len({labels[index] for index in indices}) > 1,
            "copy_across_splits": len({splits[index] for index in indices}) > 1,
        }
        for index in indices:
            issues[index] = [kind for kind, is_found in kinds.items() if is_found]
    return issues


def findings(manifest: Manifest, rejected: Sequence[Refused], left_out: Sequence[Refused]) -> list[Issue]:
    """Everything that a person should know before training, errors first."""
    issues = [
        *_of_rows(manifest.rows),
        *_of_classes(manifest),
        *_of_refused("rejected", "warning", rejected),
        *_of_refused("left_out", "info", left_out),
    ]
    order: list[Severity] = ["error", "warning", "info"]
    return sorted(issues, key=lambda issue: order.index(issue.severity))


def _of_rows(rows: Iterable[ImageRow]) -> Iterable[Issue]:
    paths: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for kind in row.issues:
            paths[kind].append(row.path)
    for kind, (severity, message) in _OF_IMAGES.items():
        if kind in paths:
            yield _issue(kind, severity, message.format(count=len(paths[kind])), paths[kind])


def _of_classes(manifest: Manifest) -> Iterable[Issue]:
    counts = manifest.counts()
    sizes = Counter({label: sum(of_split.values()) for label, of_split in counts.items()})
    (largest, most), *_, (smallest, least) = sizes.most_common()
    if most > IMBALANCE * least:
        message = f"Class '{largest}' has {most} images, '{smallest}' only {least}. Weigh the classes or add images."
        yield Issue(kind="class_imbalance", severity="warning", count=1, message=message, examples=[smallest])
    absent = [(label, split) for label in counts for split in SPLITS if counts[label][split] == 0]
    if absent:
        message = f"Class '{absent[0][0]}' has no images in the {absent[0][1]} split; its scores there are undefined."
        examples = [f"{label}: {split}" for label, split in absent[:MAX_EXAMPLES]]
        yield Issue(kind="class_missing", severity="warning", count=len(absent), message=message, examples=examples)


def _of_refused(kind: str, severity: Severity, refused: Iterable[Refused]) -> Iterable[Issue]:
    paths: dict[str, list[str]] = defaultdict(list)
    for file in refused:
        paths[file.reason.split(". ")[0].rstrip(".")].append(file.path)
    for reason, examples in sorted(paths.items()):
        yield _issue(kind, severity, f"Files {kind.replace('_', ' ')}: {len(examples)}. {reason}.", examples)


def _issue(kind: str, severity: Severity, message: str, paths: list[str]) -> Issue:
    return Issue(kind=kind, severity=severity, count=len(paths), message=message, examples=paths[:MAX_EXAMPLES])

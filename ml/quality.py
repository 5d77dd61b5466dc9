"""What is wrong with a data set. A row's `issues` name the kinds; a finding sums them up for people."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ml.config import SPLITS, Frozen
from ml.fingerprints import Fingerprint, Fingerprints
from ml.outline import Outline

Severity = Literal["info", "warning", "error"]

TINY_PX = 16
NEAR_EMPTY = 0.98  # share of the picture that is of one grey
SIZE_OUTLIER = 2.0  # powers of two between the image's area and the median: four times as large or small
OUTLIER = 5.0  # robust standard deviations
IMBALANCE = 10
MAX_EXAMPLES = 20
_AT_ONCE = 4_096
_DRAWN_FROM_PX = 96  # in a smaller image no letter or frame can be told from tissue

# kind: (severity, message)
OF_IMAGES: dict[str, tuple[Severity, str]] = {
    "same_pixels_two_labels": (
        "error",
        "Images that have the same pixels as an image of another class: {count}. They wait in quarantine until a "
        "person decides which label is right.",
    ),
    "near_copy_two_labels": (
        "error",
        "Images that show the same picture as an image of another class: {count}. They wait in quarantine until a "
        "person decides which label is right.",
    ),
    "copy_across_splits": (
        "error",
        "Images with a copy or near copy in another split: {count}. Scores there are too good; repair the split.",
    ),
    "group_across_splits": (
        "error",
        "Images whose group (patient) is also in another split: {count}. Scores there are too good; repair the split.",
    ),
    "exact_copy": ("warning", "Images that are exact copies of one another: {count}."),
    "near_copy": ("warning", "Images that are near copies of one another (flipped, resized, cropped): {count}."),
    "no_group": ("warning", "Images whose path the group pattern does not match: {count}. Each is split as if alone."),
    "constant_image": ("warning", "Images of a single colour: {count}."),
    "near_empty_image": ("warning", "Images that are almost all of one colour: {count}."),
    "tiny_image": ("warning", f"Images with a side below {TINY_PX} px: {{count}}."),
    "size_outlier": ("info", "Images of a quite different size than the others: {count}."),
    "brightness_outlier": ("info", "Images much brighter or darker than the others: {count}."),
    "burnt_in_marks": ("info", "Images with bright marks near the edge, such as letters or rulers: {count}."),
    "border": ("info", "Images with a frame of one colour: {count}."),
}


OF_COPIES = frozenset(  # what depends on other images and on the split, and so on every change of a data set
    {
        "same_pixels_two_labels",
        "near_copy_two_labels",
        "copy_across_splits",
        "group_across_splits",
        "exact_copy",
        "near_copy",
    }
)


class Refused(Frozen):
    """A file that did not become an image of the data set. The first sentence of the reason is its kind."""

    path: str
    reason: str


class Issue(Frozen):
    """One finding; `examples` are up to 20 paths, `rows` their numbers in the manifest where they became images."""

    kind: str
    severity: Severity
    count: int
    message: str
    examples: list[str]
    rows: list[int] = Field(default_factory=list)


def of_image(image_HWC: NDArray[np.uint8], fingerprint: Fingerprint) -> list[str]:
    """Kinds of issues that one image shows by itself; `fingerprint` is its small grey picture."""
    if fingerprint.min() == fingerprint.max() and (image_HWC == image_HWC[0, 0]).all():
        issues = ["constant_image"]
    elif np.bincount(fingerprint).max() > NEAR_EMPTY * fingerprint.size:
        issues = ["near_empty_image"]
    elif min(image_HWC.shape[:2]) >= _DRAWN_FROM_PX:
        issues = ["border"] * _has_frame(image_HWC) + ["burnt_in_marks"] * _has_marks(image_HWC)
    else:
        issues = []
    return issues + ["tiny_image"] * (min(image_HWC.shape[:2]) < TINY_PX)


def _has_frame(image_HWC: NDArray[np.uint8]) -> bool:
    """Whether the outermost 2 % at two opposite edges are of one colour."""
    for axis in (0, 1):
        lines = np.moveaxis(image_HWC, axis, 0)
        depth = max(1, len(lines) // 50)
        edges = np.concatenate([lines[:depth], lines[-depth:]])
        if (edges == edges[0, 0]).all():
            return True
    return False


def _has_marks(image_HWC: NDArray[np.uint8]) -> bool:
    """Whether a few pixels near the edge are saturated where most of the rest there is dark: letters, rulers."""
    height, width = image_HWC.shape[:2]
    depth_y, depth_x = height * 15 // 100, width * 15 // 100
    bands = (image_HWC[:depth_y], image_HWC[-depth_y:], image_HWC[:, :depth_x], image_HWC[:, -depth_x:])
    for band_HWC in bands:
        darkest_HW = band_HWC.min(axis=2)
        share = float((darkest_HW >= 240).mean())
        if 0.0005 < share < 0.05 and np.median(darkest_HW) < 100 and _has_steps(darkest_HW):
            return True
    return False


def _has_steps(grey_HW: NDArray[np.uint8]) -> bool:
    """Whether bright pixels border on dark ones, as drawn strokes do and tissue does not."""
    bright_HW, dark_HW = grey_HW >= 240, grey_HW < 100
    steps = (bright_HW[:, 2:] & dark_HW[:, :-2]).sum() + (bright_HW[:, :-2] & dark_HW[:, 2:]).sum()
    return bool(steps > 0.3 * bright_HW.sum())


def of_outliers(areas: Sequence[int], prints: Fingerprints) -> list[tuple[str, ...]]:
    """Kinds of issues that an image shows beside the others: its area in pixels, its fingerprint."""
    if not areas:
        return []
    pixels_N = np.log2(areas)
    brightness_N = np.concatenate(
        [prints.block(start, start + _AT_ONCE).mean(axis=1) for start in range(0, len(prints), _AT_ONCE)]
    )
    is_size_N = np.abs(pixels_N - np.median(pixels_N)) > SIZE_OUTLIER
    spread = 1.4826 * float(np.median(np.abs(brightness_N - np.median(brightness_N))))  # as a standard deviation
    is_bright_N = np.abs(brightness_N - np.median(brightness_N)) > OUTLIER * max(spread, 2.0)
    return [
        ("size_outlier",) * bool(is_size) + ("brightness_outlier",) * bool(is_bright)
        for is_size, is_bright in zip(is_size_N, is_bright_N, strict=True)
    ]


def quarantined(labels: Sequence[str], clusters: Sequence[int | None]) -> list[bool]:
    """Whether copies or near copies of the image carry another label: one of them is wrong."""
    found: dict[int | None, set[str]] = defaultdict(set)
    for label, cluster in zip(labels, clusters, strict=True):
        found[cluster].add(label)
    return [cluster is not None and len(found[cluster]) > 1 for cluster in clusters]


def of_copies(
    labels: Sequence[str],
    splits: Sequence[str],
    hashes: Sequence[str],
    clusters: Sequence[int | None],
    groups: Sequence[str | None],
    waiting: Sequence[bool],
) -> list[tuple[str, ...]]:
    """Kinds of issues (of OF_COPIES) of each image that has copies, near copies, or a group.

    Copies share a cluster. Images that are `waiting` in quarantine are in no split; those that a person released are
    not contradictory.
    """
    sides = [None if is_waiting else split for is_waiting, split in zip(waiting, splits, strict=True)]
    in_cluster = [cluster is not None for cluster in clusters]
    copies = Counter(compress(hashes, in_cluster))
    labels_of = _values(compress(hashes, in_cluster), compress(labels, in_cluster))
    members, splits_of, groups_of = Counter(clusters), _values(clusters, sides), _values(groups, sides)
    issues = []
    for label, pixels, cluster, group, is_waiting in zip(labels, hashes, clusters, groups, waiting, strict=True):
        with_same_pixels = labels_of.get(pixels, set())
        is_exact = copies[pixels] > len(with_same_pixels)
        kinds = {
            "exact_copy": is_exact,
            "near_copy": cluster is not None and members[cluster] > copies[pixels],
            "same_pixels_two_labels": is_waiting and len(with_same_pixels) > 1,
            "near_copy_two_labels": is_waiting and with_same_pixels == {label},
            "copy_across_splits": cluster is not None and not is_waiting and len(splits_of[cluster] - {None}) > 1,
            "group_across_splits": group is not None and not is_waiting and len(groups_of[group] - {None}) > 1,
        }
        issues.append(tuple(kind for kind, is_found in kinds.items() if is_found))
    return issues


def _values(keys: Iterable[Any], values: Iterable[Any]) -> dict[Any, set[Any]]:
    """The values that stand beside each key."""
    found: dict[Any, set[Any]] = defaultdict(set)
    for key, value in zip(keys, values, strict=True):
        found[key].add(value)
    return dict(found)


def findings(outline: Outline, rejected: Sequence[Refused], left_out: Sequence[Refused]) -> list[Issue]:
    """Everything that a person should know before training, errors first."""
    issues = [
        *_of_images(outline),
        *_of_classes(outline),
        *_of_refused("rejected", "warning", rejected),
        *_of_refused("left_out", "info", left_out),
    ]
    order: list[Severity] = ["error", "warning", "info"]
    return sorted(issues, key=lambda issue: order.index(issue.severity))


def _of_images(outline: Outline) -> Iterable[Issue]:
    numbers: dict[str, list[int]] = defaultdict(list)
    for number, kinds in enumerate(outline.issues):
        for kind in kinds:
            numbers[kind].append(number)
    for kind, (severity, message) in OF_IMAGES.items():
        if kind in numbers:
            shown = numbers[kind][:MAX_EXAMPLES]
            found = _issue(kind, severity, message.format(count=len(numbers[kind])), [outline.paths[n] for n in shown])
            yield found.model_copy(update={"count": len(numbers[kind]), "rows": shown})


def _of_classes(outline: Outline) -> Iterable[Issue]:
    counts = outline.counts()
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

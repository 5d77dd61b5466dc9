from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ml import quality
from ml.config import Split
from ml.fingerprints import Fingerprints, fingerprint
from ml.manifest import ImageRow, Manifest
from ml.quality import Issue, Refused
from tests.ml.factories import noise


def manifest(**counts: int) -> Manifest:
    """So many training images of each class."""
    splits: list[Split] = ["validation", "test"]
    rows = tuple(
        ImageRow(
            path=f"{label}/{number}",
            label=label,
            split=splits[number] if number < 2 else "train",
            sha256=f"{label}{number}",
            width=32,
            height=32,
            pack=0,
            member="x",
            offset=0,
            length=1,
        )
        for label, count in counts.items()
        for number in range(count)
    )
    return Manifest(classes=tuple(sorted(counts)), rows=rows)


def found(manifest: Manifest) -> dict[str, Issue]:
    return {issue.kind: issue for issue in quality.findings(manifest.outline(), [], [])}


def test_a_clean_data_set_has_no_findings() -> None:
    assert found(manifest(a=10, b=10)) == {}


def seen(image_HWC: NDArray[np.uint8]) -> list[str]:
    return quality.of_image(image_HWC, fingerprint(image_HWC))


def test_what_one_image_shows_by_itself_is_noticed() -> None:
    framed, empty, marked = noise(height=200, width=200), np.zeros((200, 200, 3), np.uint8), noise(0, 200, 200) // 4
    framed[:4] = framed[-4:] = (9, 9, 9)
    empty[100, 100:103] = 255
    marked[5:20, 5:45:5] = 255  # strokes, as of letters
    assert seen(noise()) == []
    assert seen(np.full((20, 20, 3), 7, np.uint8)) == ["constant_image"]
    assert seen(np.full((20, 20, 3), (7, 8, 9), np.uint8)) == ["constant_image"]
    assert seen(noise(height=15)) == ["tiny_image"]
    assert seen(framed) == ["border"]
    assert seen(empty) == ["near_empty_image"]
    assert seen(marked) == ["burnt_in_marks"]


def test_copies_are_told_apart_by_label_and_split() -> None:
    labels = ["a", "a", "a", "b", "a", "a", "b", "a", "a", "a", "b"]
    splits = ["train", "train", "train", "train", "train", "test", "test", "train", "test", "train", "test"]
    hashes = ["copy", "copy", "labels", "labels", "splits", "splits", "alone", "n1", "n2", "m1", "m2"]
    clusters = [0, 0, 1, 1, 2, 2, None, 3, 3, 4, 4]
    waiting = quality.quarantined(labels, clusters)
    assert waiting == [False, False, True, True] + [False] * 5 + [True, True]
    assert quality.of_copies(labels, splits, hashes, clusters, [None] * 11, waiting) == [
        ("exact_copy",),
        ("exact_copy",),
        ("same_pixels_two_labels",),
        ("same_pixels_two_labels",),
        ("exact_copy", "copy_across_splits"),
        ("exact_copy", "copy_across_splits"),
        (),
        ("near_copy", "copy_across_splits"),
        ("near_copy", "copy_across_splits"),
        ("near_copy", "near_copy_two_labels"),
        ("near_copy", "near_copy_two_labels"),
    ]


def test_a_group_in_two_splits_is_a_finding() -> None:
    alone: list[int | None] = [None] * 3
    sides, groups = ["train", "test", "test"], ["p1", "p1", "p2"]
    found = quality.of_copies(["a"] * 3, sides, ["x", "y", "z"], alone, groups, [False] * 3)
    assert found == [("group_across_splits",), ("group_across_splits",), ()]


def test_images_unlike_the_others_are_a_hint() -> None:
    prints = [fingerprint(noise(seed) // 2) for seed in range(9)]
    shown = np.stack([*prints[:7], fingerprint(noise() // 2 + 120), prints[8]])
    with Fingerprints.of(shown) as kept:
        found = quality.of_outliers([32 * 32] * 8 + [300 * 300], kept)
    assert found == [()] * 7 + [("brightness_outlier",), ("size_outlier",)]
    with Fingerprints() as none:
        assert quality.of_outliers([], none) == []


def test_a_finding_counts_the_images_and_names_some() -> None:
    clean = manifest(a=30, b=30)
    marked = [replace(row, issues=["constant_image"]) for row in clean.rows[:25]]
    issue = found(clean.model_copy(update={"rows": (*marked, *clean.rows[25:])}))["constant_image"]
    assert (issue.count, issue.severity, len(issue.examples)) == (25, "warning", 20)
    assert issue.rows == list(range(20))
    assert issue.message == "Images of a single colour: 25."


def test_imbalance_above_ten_to_one_is_a_finding() -> None:
    assert "class_imbalance" not in found(manifest(a=100, b=10))
    issue = found(manifest(a=101, b=10, c=50))["class_imbalance"]
    assert issue.message.startswith("Class 'a' has 101 images, 'b' only 10.")


def test_a_class_that_is_missing_in_a_split_is_a_finding() -> None:
    issue = found(manifest(a=10, b=1))["class_missing"]
    assert issue.examples == ["b: train", "b: test"]


def test_refused_files_are_grouped_by_their_reason() -> None:
    rejected = [Refused(path=f"a/{size}", reason=f"The image has too many pixels. It is {size}.") for size in (7, 8)]
    rejected.append(Refused(path="a/e", reason="The file is empty."))
    left_out = [Refused(path="x.txt", reason="It is not an image file.")]
    issues = quality.findings(manifest(a=10, b=10).outline(), rejected, left_out)
    assert [(issue.kind, issue.count, issue.message, issue.examples) for issue in issues] == [
        ("rejected", 1, "Files rejected: 1. The file is empty.", ["a/e"]),
        ("rejected", 2, "Files rejected: 2. The image has too many pixels.", ["a/7", "a/8"]),
        ("left_out", 1, "Files left out: 1. It is not an image file.", ["x.txt"]),
    ]


def test_errors_come_first() -> None:
    clean = manifest(a=10, b=10)
    marked = replace(clean.rows[0], issues=["tiny_image", "same_pixels_two_labels"])
    issues = quality.findings(clean.model_copy(update={"rows": (marked, *clean.rows[1:])}).outline(), [], [])
    assert [issue.severity for issue in issues] == ["error", "warning"]

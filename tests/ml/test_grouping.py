"""The group rule is found in the names where they name patients, and nowhere else."""

import os
from pathlib import Path

import pytest

from ml import patterns
from ml.grouping import propose


def many(template: str, groups: list[str], images: int = 4) -> list[str]:
    return [template.format(group=group, image=image) for group in groups for image in range(1, images + 1)]


@pytest.mark.parametrize(
    ("template", "groups", "expected"),
    [
        ("malignant/SOB_M_DC-{group}-40-{image:03d}.png", ["14-2523", "14-12312", "14-22549AB"], "14-2523"),
        ("benign/SOB_B_A_{group}_{image}.png", ["14-2523", "14-12312"], "14-2523"),
        ("benign/Mass-Training_P_{group}_LEFT_CC_{image}.png", ["00001", "00004"], "P_00001"),
        ("benign/patient{group}_{image}.png", ["01", "02", "13"], "1"),
        ("benign/Subject-{group}/scan {image}.jpg", ["7", "8"], "7"),
        ("0/{group}_idx5_x1001_y{image}_class0.png", ["10253", "10254"], "10253"),
        ("benign/{group}_{image}.png", ["A123", "A124"], "A123"),
    ],
)
def test_names_that_hold_a_patient_are_understood(template: str, groups: list[str], expected: str) -> None:
    proposal = propose(many(template, groups))
    assert proposal is not None
    assert proposal.groups == len(groups)
    assert expected in dict(proposal.examples).values()
    patterns.check(proposal.pattern)


def test_folders_of_patients_below_the_classes_are_groups() -> None:
    paths = [f"{label}/{label}-{number}/{image}.png" for label in "ab" for number in range(5) for image in range(3)]
    proposal = propose(paths)
    assert proposal is not None
    assert proposal.groups == 10


def test_folders_of_classes_are_no_groups() -> None:
    paths = [f"{split}/{label}/{n:04d}.png" for split in ("train", "test") for label in "abc" for n in range(3)]
    assert propose(paths, class_depth=2) is None
    below = [
        f"{split}/{label}/{label}{split}{n}/0.png" for split in ("train", "test") for label in "ab" for n in range(5)
    ]
    assert propose([*below, *(path.replace("0.png", "1.png") for path in below)], class_depth=2) is not None


@pytest.mark.parametrize(
    "template",
    [
        "benign/{group}{image:03d}.png",
        "cat/img_{group}{image}.jpg",
        "benign/benign ({group}{image}).png",
        "a/{group}/x{image}",
    ],
)
def test_names_that_only_count_images_are_not_groups(template: str) -> None:
    assert propose(many(template, ["1", "2", "3"])) is None


def test_a_rule_that_misses_many_images_or_groups_nothing_is_not_proposed() -> None:
    some = many("benign/patient{group}_{image}.png", ["01", "02"])
    assert propose([*some, "benign/other.png"]) is None
    assert propose(many("benign/patient{group}.png", [str(number) for number in range(9)], images=1)) is None
    assert propose([]) is None


@pytest.mark.skipif(not os.environ.get("APP_TEST_DATA"), reason="APP_TEST_DATA is not set")
def test_the_slides_of_real_histology_patches_are_found() -> None:
    folder = Path(os.environ["APP_TEST_DATA"]) / "breakhis-patches"
    proposal = propose(sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png")))
    assert proposal is not None
    assert proposal.groups == 13

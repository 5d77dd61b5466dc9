"""What the report says of the splits."""

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from flask import Flask

from ml.manifest import Manifest
from tests import factories
from webapp.datasets import contents
from webapp.models import Experiment, db
from webapp.registry import partitions


def make_changed(change: dict[int, dict[str, Any]]) -> Experiment:
    """An experiment on a data set whose rows of these numbers are changed."""
    dataset = factories.make_dataset()
    before = contents.manifest_of(dataset)
    rows = tuple(dataclasses.replace(row, **change.get(number, {})) for number, row in enumerate(before.rows))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest"
        Manifest(classes=before.classes, positive_class=before.positive_class, rows=rows).write(path)
        with path.open("rb") as stream:
            dataset.manifest_sha256 = contents.store().keep(stream)
    db.session.commit()
    return factories.make_experiment(dataset)


def test_a_group_in_two_splits_is_a_leak_and_the_level_says_so(context: Flask) -> None:
    found = partitions.of(make_changed({0: {"group": "p", "split": "train"}, 1: {"group": "p", "split": "test"}}))
    assert (found.leaks, found.group_leaks, found.copy_leaks, found.grouped) == (2, 2, 0, 2)
    assert partitions.level(found).startswith("Not disjoint: 2 images")


def test_copies_in_two_splits_are_a_leak(context: Flask) -> None:
    found = partitions.of(make_changed({0: {"cluster": 1, "split": "train"}, 1: {"cluster": 1, "split": "test"}}))
    assert (found.leaks, found.group_leaks, found.copy_leaks, found.copies) == (2, 0, 2, 2)


def test_whole_groups_are_the_level_where_every_image_has_one(context: Flask) -> None:
    rows = contents.manifest_of(factories.make_dataset()).rows
    found = partitions.of(make_changed({number: {"group": f"{row.split}"} for number, row in enumerate(rows)}))
    assert partitions.level(found).startswith("Group (patient) and near copy: no group")
    assert [(split.images, split.groups, split.ungrouped) for split in found.splits] == [
        (8, 1, 0),
        (4, 1, 0),
        (4, 1, 0),
    ]


def test_without_its_list_of_images_nothing_is_claimed(context: Flask) -> None:
    dataset = factories.make_dataset()
    dataset.manifest_sha256 = "0" * 64
    found = partitions.of(factories.make_experiment(dataset))
    assert (found.leaks, found.shared_pixels, found.splits[0].groups) == (None, None, None)
    assert partitions.level(found) == "Unknown: the list of images is not at hand."


def test_the_files_of_a_changed_version_are_those_of_the_first(context: Flask) -> None:
    first = factories.make_dataset(report={"rejected_count": 2, "left_out_count": 1})
    second = factories.make_dataset(line=first.line, number=2, parent_number=1)
    files = partitions.of(factories.make_experiment(second)).files
    assert files is not None
    assert (files.total, files.rejected, files.left_out) == (19, 2, 1)
    orphan = factories.make_dataset(number=2, parent_number=1)
    assert partitions.of(factories.make_experiment(orphan)).files is None

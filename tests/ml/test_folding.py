"""A fold as training sees it: judged once, never divided, and named by its own hash."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from ml import folding
from ml.errors import BadConfig
from ml.folding import Member, as_seen
from ml.manifest import Manifest
from tests.ml import small_dataset


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """24 images: pairs of one class share a group, the first two groups are joined by a near copy, one waits."""
    built = small_dataset.build(tmp_path, train=24, validation=0, test=0)
    built.packs.close()
    rows = [
        replace(row, group=f"p{number % 2}-{number // 4}", cluster=1 if number in (0, 4) else None)
        for number, row in enumerate(built.manifest.rows)
    ]
    rows[23] = replace(rows[23], quarantined=True)
    return built.manifest.model_copy(update={"rows": tuple(rows)})


def member(number: int, k: int = 3, **values: object) -> Member:
    return Member(**{"study": 1, "kind": "folds", "number": number, "k": k, "seed": 0, **values})


def test_every_image_is_judged_once_chooses_once_and_trains_otherwise(manifest: Manifest) -> None:
    views = [as_seen(manifest, member(number)) for number in (1, 2, 3)]
    for number, row in enumerate(manifest.rows):
        if not row.quarantined:
            assert Counter(view.rows[number].split for view in views) == {"test": 1, "validation": 1, "train": 1}


def test_a_group_and_its_near_copies_are_never_divided(manifest: Manifest) -> None:
    folds = folding.of_images(manifest, 3, seed=5)
    for group in {row.group for row in manifest.rows}:
        found = {folds[number] for number, row in enumerate(manifest.rows) if row.group == group}
        assert len(found - {None}) == 1
    assert folds[0] == folds[4]
    assert folds[23] is None


def test_each_fold_has_a_hash_of_its_own_and_the_data_set_stays_as_it_is(manifest: Manifest) -> None:
    before = manifest.content_sha256()
    hashes = {as_seen(manifest, member(number)).content_sha256() for number in (1, 2, 3)}
    assert len({*hashes, before}) == 4
    assert manifest.content_sha256() == before
    assert as_seen(manifest, member(2)).content_sha256() in hashes


def test_seeds_and_single_trainings_see_the_splits_of_the_data_set(manifest: Manifest) -> None:
    assert as_seen(manifest, None) is manifest
    assert as_seen(manifest, member(2, kind="seeds")) is manifest


@pytest.mark.parametrize(("k", "message"), [(2, "leave none to train on"), (6, "has 5 groups .* at most 5 folds")])
def test_folds_that_cannot_be_made_are_explained(manifest: Manifest, k: int, message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        folding.of_images(manifest, k, seed=0)

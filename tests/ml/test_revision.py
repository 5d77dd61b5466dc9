from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.errors import BadConfig, Cancelled
from ml.ingest import Ingested, ingest
from ml.ingest_options import ArchiveLimits, IngestOptions
from ml.manifest import Manifest
from ml.pack import PackReader, PackWriter
from ml.revision import Change, Revised, revise
from tests.ml.factories import encoded, files, noise, zip_of

# Ten patients of each class, of three images each: "a/p3_1.png".
PATIENTS = {
    f"{label}/{label}{patient}_{number}.png": encoded(noise(100 * patient + 10 * number + (label == "b")))
    for label in "ab"
    for patient in range(10)
    for number in range(3)
}
BY_PATIENT = r"/([ab]\d)_"
TWO_LABELS = files("a", "b", count=5) | {f"{label}/same.png": encoded(noise(7)) for label in "ab"}
LEAK = (  # four images of class a are also in the test split
    files("a", "b", count=8, prefix="train/") | files("a", prefix="test/") | files("b", prefix="test/", first_seed=50)
)


def taken_in(folder: Path, content: Mapping[str, bytes], **options: Any) -> Ingested:
    (folder / "first").mkdir()
    archive = zip_of(folder / "archive.zip", content)
    return ingest(archive, folder / "first", IngestOptions.model_validate(options), ArchiveLimits())


def changed(first: Ingested, folder: Path, manifest: Manifest | None = None, **change: Any) -> Revised:
    """The next version of `first`, or of a `manifest` over the same packs."""
    folder = folder / "next"
    folder.mkdir(exist_ok=True)
    with PackReader(first.pack_paths) as packs:
        return revise(manifest or first.manifest, packs, Change.model_validate(change), folder)


def packs_of(first: Ingested, revised: Revised) -> list[Path]:
    return [first.pack_paths[pack] if isinstance(pack, int) else pack for pack in revised.packs]


def waiting(manifest: Manifest) -> set[str]:
    return {row.path for row in manifest.rows if row.quarantined}


def split_of(manifest: Manifest) -> dict[str, str]:
    return {row.path: row.split for row in manifest.rows}


def test_an_image_taken_out_is_in_no_pack_any_more_and_the_others_are_as_they_were(tmp_path: Path) -> None:
    content = files("a", "b", count=5) | {"a/large.png": encoded(noise(9, 200, 220))}
    first = taken_in(tmp_path, content)
    gone, before = first.manifest.rows[2], PackReader(first.pack_paths)
    revised = changed(first, tmp_path, excluded=[gone.path])
    after = PackReader(packs_of(first, revised))
    assert [row.path for row in revised.manifest.rows] == [row.path for row in first.manifest.rows if row != gone]
    assert all(before.read_bytes(gone.pack, gone.member) not in path.read_bytes() for path in tmp_path.glob("next/*"))
    old = {row.path: before.read_encoded(row.pack, row.member) for row in first.manifest.rows}
    for row in revised.manifest.rows:
        assert after.read_encoded(row.pack, row.member) == old[row.path]
        packed = packs_of(first, revised)[row.pack].read_bytes()
        thumbnail = packed[row.thumbnail_offset :][: row.thumbnail_length]
        assert (packed[row.offset :][: row.length], thumbnail) == old[row.path]
    assert (revised.difference.removed, revised.report.images) == (1, 10)


def test_packs_without_a_removed_image_stay_as_they_are(tmp_path: Path) -> None:
    pixels = {f"{label}/{n}.png": noise(n + 10 * (label == "b"), 380, 380) for label in "ab" for n in range(4)}
    first = taken_in(tmp_path, {path: encoded(image) for path, image in pixels.items()})
    with PackWriter(tmp_path, max_mb=1) as writer, PackReader(first.pack_paths) as packs:
        places = [writer.add(packs.read_encoded(row.pack, row.member)) for row in first.manifest.rows]
    rows = [replace(row, **place._asdict()) for row, place in zip(first.manifest.rows, places, strict=True)]
    assert [row.pack for row in rows] == [0, 0, 1, 1, 2, 2, 3, 3]
    first.manifest.model_copy(update={"rows": tuple(rows)}).write(tmp_path / "scattered")
    scattered = replace(first, manifest_path=tmp_path / "scattered", pack_paths=writer.paths)
    revised = changed(scattered, tmp_path, excluded=[rows[3].path])
    assert revised.packs == [0, 2, 3, tmp_path / "next/pack-0000.zip"]
    reader = PackReader(packs_of(scattered, revised))
    assert len(revised.manifest.rows) == 7
    assert all(np.array_equal(reader.read(row.pack, row.member), pixels[row.path]) for row in revised.manifest.rows)


def test_a_change_without_removals_writes_no_pack(tmp_path: Path) -> None:
    revised = changed(taken_in(tmp_path, TWO_LABELS), tmp_path, kept=["a/same.png"])
    assert revised.packs == [0]
    assert list((tmp_path / "next").iterdir()) == []


def test_a_removed_group_is_gone_with_all_its_images(tmp_path: Path) -> None:
    first = taken_in(tmp_path, PATIENTS, group_pattern=BY_PATIENT)
    chosen = next(row.group for row in first.manifest.rows if row.split == "test")
    revised = changed(first, tmp_path, removed_groups=[chosen])
    assert chosen not in {row.group for row in revised.manifest.rows}
    assert revised.difference.model_dump() == {
        "removed": 3, "relabelled": 0, "released": 0, "moved": 0, "groups_removed": [chosen]
    }  # fmt: skip
    assert revised.manifest.content_sha256() != first.manifest.content_sha256()


@pytest.mark.parametrize(
    ("change", "still_waiting", "released", "relabelled"),
    [
        ({"kept": ["a/same.png"]}, {"b/same.png"}, 1, 0),
        ({"kept": ["a/same.png", "b/same.png"]}, set(), 2, 0),
        ({"relabelled": {"a/same.png": "b"}}, set(), 2, 1),
        ({"relabelled": {"a/same.png": "a"}}, {"b/same.png"}, 1, 0),
        ({"excluded": ["a/same.png"]}, set(), 1, 0),
        ({"excluded": ["a/0.png"]}, {"a/same.png", "b/same.png"}, 0, 0),
    ],
)
def test_a_decision_ends_the_quarantine_of_what_it_settles(
    tmp_path: Path, change: dict[str, Any], still_waiting: set[str], released: int, relabelled: int
) -> None:
    revised = changed(taken_in(tmp_path, TWO_LABELS), tmp_path, **change)
    marked = {row.path for row in revised.manifest.rows if "same_pixels_two_labels" in row.issues}
    assert waiting(revised.manifest) == marked == still_waiting
    assert (revised.difference.released, revised.difference.relabelled) == (released, relabelled)
    assert revised.report.quarantined == len(still_waiting)


def test_what_a_person_released_stays_released_in_later_versions(tmp_path: Path) -> None:
    first = taken_in(tmp_path, TWO_LABELS)
    kept = changed(first, tmp_path, kept=["a/same.png"])
    again = changed(first, tmp_path, kept.manifest, relabelled={"a/0.png": "b"})
    assert waiting(again.manifest) == {"b/same.png"}


def test_a_new_label_that_contradicts_a_copy_sends_the_copy_into_quarantine(tmp_path: Path) -> None:
    first = taken_in(tmp_path, files("a", "b", count=5) | {"a/copy.png": encoded(noise(0))})
    assert waiting(first.manifest) == set()
    revised = changed(first, tmp_path, relabelled={"a/0.png": "b"})
    assert waiting(revised.manifest) == {"a/copy.png"}


def test_the_last_of_several_copies_is_no_copy_any_more(tmp_path: Path) -> None:
    first = taken_in(tmp_path, files("a", "b", count=5) | {"a/copy.png": encoded(noise(0))})
    revised = changed(first, tmp_path, excluded=["a/copy.png"])
    assert {(row.cluster, *row.issues) for row in revised.manifest.rows} == {(None,)}
    assert revised.report.issues == []


def test_a_new_split_divides_no_group_and_heeds_no_order(tmp_path: Path) -> None:
    first = taken_in(tmp_path, PATIENTS, group_pattern=BY_PATIENT)
    reversed_rows = first.manifest.model_copy(update={"rows": first.manifest.rows[::-1]})
    change = {"shares": {"train": 0.5, "validation": 0.2, "test": 0.3}, "seed": 3}
    revised = changed(first, tmp_path, **change)
    assert split_of(revised.manifest) == split_of(changed(first, tmp_path, reversed_rows, **change).manifest)
    assert split_of(revised.manifest) != split_of(changed(first, tmp_path, **change | {"seed": 4}).manifest)
    assert revised.manifest.counts()["a"] == {"train": 15, "validation": 6, "test": 9}
    assert len({(row.group, row.split) for row in revised.manifest.rows}) == 20
    assert revised.difference.moved > 0
    assert revised.report.divided_by_chance == round(60 * (1 - 0.5**3 - 0.2**3 - 0.3**3))


def test_a_repair_puts_copies_of_several_splits_together(tmp_path: Path) -> None:
    first = taken_in(tmp_path, LEAK)
    revised = changed(first, tmp_path, repair=True)
    assert (first.report.leaks, revised.report.leaks, revised.difference.moved) == (8, 0, 4)
    assert "copy_across_splits" not in {issue.kind for issue in revised.report.issues}
    assert split_of(revised.manifest)["train/a/0.png"] == "test"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({}, "leaves every image as it is"),
        ({"seed": 5, "kept": ["a/0.png"], "repair": True}, "leaves every image as it is"),
        ({"excluded": ["a/0.png", "a/x.png", "a/y.png"]}, r"no image 'a/x\.png'"),
        ({"kept": ["a/x.png"]}, r"no image 'a/x\.png'"),
        ({"relabelled": {"a/x.png": "a"}}, r"no image 'a/x\.png'"),
        ({"relabelled": {"a/0.png": "c"}}, "no class 'c'"),
        ({"removed_groups": ["Smith"]}, "no group 'Smith'"),
        ({"excluded": ["a/0.png"], "kept": ["a/0.png"]}, r"'a/0\.png' is both taken out and given a label"),
        ({"kept": ["a/0.png"], "relabelled": {"a/0.png": "b"}}, r"'a/0\.png' is both kept .* and relabelled"),
        ({"excluded": [f"a/{number}.png" for number in range(5)]}, "one class only, 'b'; at least 2"),
        ({"excluded": [f"{label}/{number}.png" for label in "ab" for number in range(5)]}, "leaves no images"),
        ({"excluded": [f"a/{number}.png" for number in range(3)]}, "2 images of class 'a'; at least 3"),
    ],
)
def test_a_change_that_does_not_fit_is_refused_by_name(tmp_path: Path, change: dict[str, Any], cause: str) -> None:
    first = taken_in(tmp_path, files("a", "b", count=5))
    with pytest.raises(BadConfig, match=cause):
        changed(first, tmp_path, **change)


def test_a_change_that_leaves_a_class_without_training_images_is_refused(tmp_path: Path) -> None:
    first = taken_in(tmp_path, LEAK)
    training = [row.path for row in first.manifest.rows if (row.label, row.split) == ("a", "train")]
    with pytest.raises(BadConfig, match="leaves class 'a' without training images"):
        changed(first, tmp_path, excluded=training)


def test_a_class_may_be_taken_out_and_the_positive_class_is_proposed_anew(tmp_path: Path) -> None:
    first = taken_in(tmp_path, files("benign", "malignant", "unclear"))
    revised = changed(first, tmp_path, excluded=[f"unclear/{number}.png" for number in range(4)])
    assert first.manifest.positive_class is None
    assert (revised.manifest.classes, revised.manifest.positive_class) == (("benign", "malignant"), "malignant")


def test_a_revision_can_be_stopped_on_the_way(tmp_path: Path) -> None:
    first = taken_in(tmp_path, files("a", "b", count=5))

    def report(done: int) -> None:
        if done == 3:
            raise Cancelled

    with PackReader(first.pack_paths) as packs, pytest.raises(Cancelled):
        revise(first.manifest, packs, Change(excluded=["a/0.png"]), tmp_path, report=report)

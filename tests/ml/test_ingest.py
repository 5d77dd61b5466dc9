import os
from pathlib import Path

import numpy as np
import pytest

from ml.errors import BadArchive, BadConfig, Cancelled
from ml.images import pixel_sha256
from ml.ingest import MANIFEST_NAME, Ingested, ingest
from ml.ingest_options import ArchiveLimits, IngestOptions
from ml.manifest import ImageRow, Manifest
from ml.pack import PackReader
from tests.ml.factories import encoded, files, medmnist, noise, npz_of, tar_of, zip_of

DATA = os.environ.get("APP_TEST_DATA")


def take_in(path: Path, limits: ArchiveLimits | None = None, **options: object) -> Ingested:
    folder = path.parent / "set"
    folder.mkdir()
    return ingest(path, folder, IngestOptions.model_validate(options), limits or ArchiveLimits())


def rows(ingested: Ingested) -> dict[str, ImageRow]:
    return {row.path: row for row in ingested.manifest.rows}


def test_an_archive_becomes_a_data_set_on_disk(tmp_path: Path) -> None:
    ingested = take_in(zip_of(tmp_path / "a.zip", files("benign", "malignant", count=10)))
    manifest = Manifest.read(tmp_path / "set" / MANIFEST_NAME)
    assert manifest == ingested.manifest
    assert (manifest.classes, manifest.positive_class) == (("benign", "malignant"), "malignant")
    assert manifest.counts()["benign"] == {"train": 7, "validation": 2, "test": 1}
    row = rows(ingested)["malignant/3.png"]
    assert np.array_equal(PackReader(ingested.pack_paths).read(row.pack, row.member), noise(1003))
    assert (row.width, row.height, row.sha256) == (24, 20, pixel_sha256(noise(1003)))


def test_the_same_content_is_the_same_data_set_however_it_is_packed(tmp_path: Path) -> None:
    content = files("a", "b", count=10)
    (tmp_path / "x").mkdir()
    first = take_in(zip_of(tmp_path / "a.zip", content))
    second = take_in(tar_of(tmp_path / "x/a.tar.gz", dict(reversed(content.items())), "gz"))
    assert first.manifest.content_sha256() == second.manifest.content_sha256()


def test_every_refused_file_is_reported(tmp_path: Path) -> None:
    extra = {"a/cut.png": encoded(noise(99))[:300], "a/notes.txt": b"x", "lonely.png": encoded(noise(98))}
    report = take_in(zip_of(tmp_path / "a.zip", files("a", "b") | extra)).report
    assert (report.images, report.rejected_count, report.left_out_count) == (8, 1, 2)
    assert [file.path for file in report.rejected] == ["a/cut.png"]
    assert {file.path for file in report.left_out} == {"a/notes.txt", "lonely.png"}
    assert {issue.kind for issue in report.issues} == {"rejected", "left_out"}


def test_files_that_match_the_exclude_pattern_are_left_out(tmp_path: Path) -> None:
    content = files("a", "b") | {"a/1_mask.png": encoded(noise(99))}
    report = take_in(zip_of(tmp_path / "a.zip", content), exclude_pattern=r"_mask\.").report
    assert [(file.path, file.reason) for file in report.left_out] == [
        ("a/1_mask.png", "It matches the exclude pattern.")
    ]


def test_the_group_pattern_keeps_a_patient_in_one_split(tmp_path: Path) -> None:
    content = {
        f"{label}/p{number // 3}{label}_{number}.png": encoded(noise(number + 100 * (label == "b")))
        for label in "ab"
        for number in range(18)
    }
    ingested = take_in(zip_of(tmp_path / "a.zip", content), group_pattern=r"/(p\d+[ab])_")
    splits: dict[str | None, set[str]] = {}
    for row in ingested.manifest.rows:
        splits.setdefault(row.group, set()).add(row.split)
    assert len(splits) == 12
    assert all(len(found) == 1 for found in splits.values())


def test_images_that_the_group_pattern_misses_are_a_finding(tmp_path: Path) -> None:
    ingested = take_in(zip_of(tmp_path / "a.zip", files("a", "b")), group_pattern=r"a/(\d)")
    issue = next(issue for issue in ingested.report.issues if issue.kind == "no_group")
    assert (issue.count, issue.examples[0]) == (4, "b/0.png")


@pytest.mark.parametrize("name", ["group_pattern", "exclude_pattern"])
def test_a_pattern_that_never_ends_stops_the_ingest(tmp_path: Path, name: str) -> None:
    content = files("b", 200 * "a")
    with pytest.raises(BadConfig, match=f"The {name.replace('_', ' ')} .* takes more than"):
        take_in(zip_of(tmp_path / "a.zip", content), **{name: "(a|aa)+$"})


def test_a_group_pattern_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"group pattern 'patient_\(\\d\+\)' matches no path, such as 'a/0\.png'"):
        take_in(zip_of(tmp_path / "a.zip", files("a", "b")), group_pattern=r"patient_(\d+)")


def test_a_group_pattern_that_matches_only_emptiness_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="matches no path"):
        take_in(zip_of(tmp_path / "a.zip", files("a", "b")), group_pattern="x*")


def test_exact_copies_do_not_straddle_the_splits(tmp_path: Path) -> None:
    content = files("a", "b", count=10)
    content |= {f"{path}.copy.bmp": encoded(noise(seed), "BMP") for seed, path in enumerate(list(content)[:10])}
    ingested = take_in(zip_of(tmp_path / "a.zip", content))
    assert all(
        rows(ingested)[f"a/{number}.png"].split == rows(ingested)[f"a/{number}.png.copy.bmp"].split
        for number in range(10)
    )
    issues = {issue.kind: issue.count for issue in ingested.report.issues}
    assert issues == {"exact_copy": 20}


def test_a_copy_across_given_splits_is_an_error_that_is_reported(tmp_path: Path) -> None:
    content = files("a", "b", prefix="train/") | files("a", prefix="test/") | files("b", prefix="test/", first_seed=50)
    ingested = take_in(zip_of(tmp_path / "a.zip", content))
    issue = next(issue for issue in ingested.report.issues if issue.kind == "copy_across_splits")
    assert (issue.severity, issue.count) == ("error", 8)
    assert "copy_across_splits" in rows(ingested)["test/a/0.png"].issues


def test_given_splits_are_kept(tmp_path: Path) -> None:
    ingested = take_in(npz_of(tmp_path / "a.npz", **medmnist()))
    assert ingested.manifest.counts() == {label: {"train": 3, "validation": 3, "test": 3} for label in ("0", "1")}


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ({"notes.txt": b"x"}, r"no usable images \(1 files refused; 'notes.txt': It is not an image file"),
        (files("a"), "one class only, 'a'; at least 2"),
        (files("a") | files("b", count=2, first_seed=50), "2 images of class 'b'; at least 3 are needed"),
        (files("a", "b", prefix="test/") | files("a", prefix="train/", first_seed=9), "'b' has no training images"),
        (files("a", "b", "c"), "3 classes; at most 2"),
    ],
)
def test_an_archive_that_nothing_can_learn_from_is_refused(
    tmp_path: Path, content: dict[str, bytes], cause: str
) -> None:
    with pytest.raises(BadArchive, match=cause):
        take_in(zip_of(tmp_path / "a.zip", content), ArchiveLimits(max_classes=2))


def test_a_person_may_name_the_positive_class(tmp_path: Path) -> None:
    assert take_in(zip_of(tmp_path / "a.zip", files("a", "b")), positive_class="a").manifest.positive_class == "a"


@pytest.mark.parametrize(("labels", "cause"), [(("a", "b"), "not among the classes: a, b"), (("a", "b", "c"), "has 3")])
def test_a_positive_class_that_does_not_fit_is_refused(tmp_path: Path, labels: tuple[str, ...], cause: str) -> None:
    with pytest.raises(BadConfig, match=cause):
        take_in(zip_of(tmp_path / "a.zip", files(*labels)), positive_class="x")


def test_an_ingest_can_be_stopped_on_the_way(tmp_path: Path) -> None:
    def report(done: int) -> None:
        if done >= 3:
            raise Cancelled

    path = zip_of(tmp_path / "a.zip", files("a", "b"))
    with pytest.raises(Cancelled):
        ingest(path, tmp_path, IngestOptions(), ArchiveLimits(), report)
    assert not (tmp_path / MANIFEST_NAME).exists()


@pytest.mark.skipif(not DATA, reason="APP_TEST_DATA is not set")
def test_breastmnist_comes_in_whole_and_its_copies_are_found(tmp_path: Path) -> None:
    ingested = ingest(Path(str(DATA), "breastmnist_64.npz"), tmp_path, IngestOptions(), ArchiveLimits())
    issues = {issue.kind: issue for issue in ingested.report.issues}
    assert len(ingested.manifest.rows) == 780
    assert issues["same_pixels_two_labels"].examples == ["train/0/00115", "test/1/00076"]
    assert rows(ingested)["train/0/00115"].quarantined
    assert ingested.report.quarantined == 780 - sum(sum(c.values()) for c in ingested.manifest.counts().values())
    assert issues["copy_across_splits"].count == ingested.report.leaks > 100


@pytest.mark.skipif(not DATA, reason="APP_TEST_DATA is not set")
def test_a_given_split_is_repaired_on_request(tmp_path: Path) -> None:
    path = Path(str(DATA), "breastmnist_64.npz")
    ingested = ingest(path, tmp_path, IngestOptions(repair=True), ArchiveLimits())
    assert ingested.report.leaks == 0
    assert "copy_across_splits" not in {issue.kind for issue in ingested.report.issues}


@pytest.mark.skipif(not DATA, reason="APP_TEST_DATA is not set")
def test_slides_of_one_patient_stay_in_one_split(tmp_path: Path) -> None:
    folder = Path(str(DATA), "breakhis-patches")
    content = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}
    ingested = take_in(zip_of(tmp_path / "a.zip", content), group_pattern=r"SOB_[A-Z_]+_(\d+-\d+)")
    splits = {(row.group, row.split) for row in ingested.manifest.rows}
    assert len(splits) == len({group for group, _ in splits}) == 12
    assert all(min(counts.values()) > 0 for counts in ingested.manifest.counts().values())

"""The preview says what an archive holds before any image is decoded, and what is proposed."""

import os
from pathlib import Path

import pytest

from ml.errors import BadConfig
from ml.ingest import ingest
from ml.ingest_options import ArchiveLimits, IngestOptions
from ml.patterns import Pattern
from ml.preview import examples, preview
from tests.ml.factories import encoded, files, medmnist, noise, npz_of, zip_of


def of(path: Path, **options: str) -> dict[str, object]:
    return preview(path, IngestOptions(**options), ArchiveLimits()).model_dump()  # type: ignore[arg-type]


def breakhis() -> dict[str, bytes]:
    return {
        f"set/{label}/SOB_{label[0].upper()}_DC-14-{patient}-40-{image:03d}.png": encoded(noise(patient + image))
        for label, patients in (("benign", (10, 20)), ("malignant", (30, 40)))
        for patient in patients
        for image in range(3)
    }


def test_the_preview_counts_and_proposes(tmp_path: Path) -> None:
    content = {**breakhis(), "set/benign/SOB_B_DC-14-10-40-000_mask.png": encoded(noise()), "set/read me.txt": b"x"}
    found = of(zip_of(tmp_path / "a.zip", content))
    assert found["classes"] == [{"name": "benign", "count": 6}, {"name": "malignant", "count": 6}]
    assert (found["images"], found["groups"], found["positive_class"]) == (12, 4, "malignant")
    assert (found["formats"], found["width_px"]) == ({"PNG": 12}, {"smallest": 24, "median": 24, "largest": 24})
    assert found["label_rule"] == "The class is the first folder below 'set'"
    assert found["group_examples"][0]["group"] == "14-10"  # type: ignore[index]
    reasons = {file["path"]: file["reason"] for file in found["left_out"]}  # type: ignore[attr-defined]
    assert reasons["set/benign/SOB_B_DC-14-10-40-000_mask.png"] == "It matches the exclude pattern."
    assert "set/read me.txt" in reasons


def test_what_a_person_chose_is_shown_instead_of_the_proposal(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", breakhis())
    assert of(path, group_pattern="")["groups"] == 0
    assert of(path, group_pattern=r"-(\d+)\.png")["groups"] == 3
    assert of(path, exclude_pattern="benign")["images"] == 6


def test_what_is_previewed_is_what_comes_in(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", breakhis() | {"set/benign/x_mask.png": encoded(noise())})
    rows = ingest(path, tmp_path, IngestOptions(), ArchiveLimits()).manifest.rows
    assert len(rows) == of(path)["images"] == 12
    assert {row.group for row in rows} == {"14-10", "14-20", "14-30", "14-40"}


def test_arrays_and_unreadable_files_have_a_preview_too(tmp_path: Path) -> None:
    found = of(npz_of(tmp_path / "a.npz", **medmnist()))
    assert (found["formats"], found["given_splits"]) == ({"array": 18}, {"train": 6, "validation": 6, "test": 6})
    found = of(zip_of(tmp_path / "a.zip", files("a", "b") | {"a/x.png": b"no image"}))
    assert found["left_out_count"] == 1


def test_a_pattern_is_tried_on_paths() -> None:
    assert [example.group for example in examples(Pattern(r"p(\d+)", "group pattern"), ["a/p1_2.png", "a/x.png"])] == [
        "1",
        None,
    ]
    with pytest.raises(BadConfig, match="group pattern"):
        examples(Pattern(r"(a|aa)+$", "group pattern"), ["a" * 200 + "!"])


@pytest.mark.skipif(not os.environ.get("APP_TEST_DATA"), reason="APP_TEST_DATA is not set")
def test_the_slides_of_real_patches_are_proposed(tmp_path: Path) -> None:
    folder = Path(os.environ["APP_TEST_DATA"], "breakhis-patches")
    content = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}
    found = of(zip_of(tmp_path / "a.zip", content))
    assert (found["images"], found["groups"], found["left_out_count"]) == (78, 13, 0)

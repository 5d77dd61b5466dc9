import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from ml.config import Split
from ml.errors import BadArtifact
from ml.manifest import ImageRow, Manifest, propose_positive_class


def row(path: str, label: str = "benign", split: Split = "train", **changes: object) -> ImageRow:
    values = {"path": path, "label": label, "split": split, "sha256": path, "width": 8, "height": 9, "pack": 0}
    return ImageRow(**values | {"member": "000000.png", "offset": 40, "length": 70} | changes)


def manifest(*rows: ImageRow) -> Manifest:
    return Manifest(classes=("benign", "malignant"), positive_class="malignant", rows=rows or ROWS)


ROWS = (
    row("a.png", group="patient 1", metadata={"age": "51"}, issues=["tiny_image"]),
    row("ü \ufffd.png", "malignant", "test"),
    row("c.png", "malignant", "validation"),
)


def test_a_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    manifest().write(tmp_path / "m.gz")
    assert Manifest.read(tmp_path / "m.gz") == manifest()


def test_equal_manifests_give_equal_bytes_whatever_the_file_is_called(tmp_path: Path) -> None:
    manifest().write(tmp_path / "a.gz")
    manifest().write(tmp_path / "b.gz")
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_images_are_found_and_counted_by_split() -> None:
    assert [image.path for image in manifest().of_split("validation")] == ["c.png"]
    assert manifest().label_index("malignant") == 1
    assert manifest().counts() == {
        "benign": {"train": 1, "validation": 0, "test": 0},
        "malignant": {"train": 0, "validation": 1, "test": 1},
    }


def test_the_identity_ignores_order_and_place_in_a_pack() -> None:
    moved = [replace(image, pack=7, member="x") for image in reversed(ROWS)]
    assert manifest(*moved).content_sha256() == manifest().content_sha256()


@pytest.mark.parametrize(
    "change", [{"path": "b.png"}, {"label": "malignant"}, {"split": "test"}, {"group": None}, {"sha256": "other"}]
)
def test_the_identity_depends_on_what_is_learned(change: dict[str, str]) -> None:
    changed = replace(ROWS[0], **change)
    assert manifest(changed, *ROWS[1:]).content_sha256() != manifest().content_sha256()


def test_a_manifest_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    manifest().write(tmp_path / "m.gz")
    data = (tmp_path / "m.gz").read_bytes()
    for end in (0, 5, len(data) // 2, len(data) - 9):
        (tmp_path / "m.gz").write_bytes(data[:end])
        with pytest.raises(BadArtifact, match=r"m\.gz"):
            Manifest.read(tmp_path / "m.gz")


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        (b'"manifest/1"', b'"manifest/2"', "format"),
        (b'"split":"test"', b'"split":"holdout"', "split"),
        (b'"images": 3', b'"images": 4', "3 of 4 rows"),
        (b'"width":8', b'"width":"x"', "width"),
        (b"{", b"", "cannot be read"),
        (b'{"format"', b'[{"format"', "cannot be read"),
    ],
)
def test_a_manifest_with_other_content_is_refused(tmp_path: Path, old: bytes, new: bytes, cause: str) -> None:
    manifest().write(tmp_path / "m.gz")
    text = gzip.decompress((tmp_path / "m.gz").read_bytes())
    assert old in text
    (tmp_path / "m.gz").write_bytes(gzip.compress(text.replace(old, new)))
    with pytest.raises(BadArtifact, match=cause):
        Manifest.read(tmp_path / "m.gz")


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("benign", "malignant"), "malignant"),
        (("malignant", "normal or benign"), "malignant"),
        (("Tumor", "healthy"), "Tumor"),
        (("abnormal", "normal"), "abnormal"),
        (("cancer", "non-cancer"), "cancer"),
        (("no_lesion", "with_lesion"), "with_lesion"),
        (("IDC_negative", "IDC_positive"), "IDC_positive"),
        (("lesion", "normal"), "lesion"),
        (("0", "1"), "1"),
        (("cat", "dog"), "dog"),
        (("a", "b", "malignant"), None),
    ],
)
def test_the_positive_class_is_proposed_by_its_name(classes: tuple[str, ...], expected: str | None) -> None:
    assert propose_positive_class(classes) == expected

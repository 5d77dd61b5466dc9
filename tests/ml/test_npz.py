import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ml.archive import candidates
from ml.errors import BadArchive
from ml.ingest_options import ArchiveLimits
from tests.ml.factories import medmnist, npz_of, zip_of


def read(path: Path, **limits: int) -> list[tuple[str, str, str | None, np.ndarray]]:
    found = candidates(path, ArchiveLimits(**limits), print)
    return [(image.path, image.label, image.split, image.load()) for image in found]


def test_medmnist_arrays_become_images(tmp_path: Path) -> None:
    arrays = medmnist()
    found = read(npz_of(tmp_path / "a.npz", **arrays))
    assert [image[:3] for image in found[5:8]] == [
        ("train/1/00005", "1", "train"),
        ("val/0/00000", "0", "validation"),
        ("val/1/00001", "1", "validation"),
    ]
    assert found[5][3].shape == (28, 28, 3)
    assert np.array_equal(found[5][3][:, :, 2], arrays["train_images"][5])


def test_colour_and_flat_labels_are_read(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (6, 28, 28, 3), dtype=np.uint8)
    labels = np.array([0, 1, 2, 0, 1, 2], np.int64)
    found = read(npz_of(tmp_path / "a.npz", **medmnist(train_images=colour, train_labels=labels)))
    assert np.array_equal(found[2][3], colour[2])
    assert found[2][1] == "2"


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"train_images": np.array([{}] * 6, dtype=object)}, "Python objects"),
        ({"train_labels": np.array([{}] * 6, dtype=object)}, "Python objects|one whole number"),
        ({"train_labels": np.zeros(5, np.uint8)}, "6 images, but there are 5 labels"),
        ({"train_labels": np.zeros((6, 14), np.uint8)}, "one whole number per image"),
        ({"train_labels": np.zeros(6)}, "one whole number per image"),
        ({"train_images": np.zeros((6, 28, 28))}, "uint8"),
        ({"train_images": np.zeros((6, 28, 28, 28), np.uint8)}, "uint8 in"),
        ({"train_images": np.zeros((6, 0, 28), np.uint8)}, "at most 100 megapixels|0 x 28"),
        ({"train_images": np.asfortranarray(np.zeros((6, 28, 28), np.uint8))}, "column by column"),
    ],
)
def test_arrays_of_another_kind_are_refused(tmp_path: Path, changes: dict[str, np.ndarray], cause: str) -> None:
    with pytest.raises(BadArchive, match=cause):
        read(npz_of(tmp_path / "a.npz", **medmnist(**changes)))


def test_other_arrays_are_refused_with_the_expected_names(tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match="Expected are the arrays"):
        read(npz_of(tmp_path / "a.npz", x=np.zeros(3)))
    images_only = {"train_images": medmnist()["train_images"]}
    with pytest.raises(BadArchive, match="no train_labels"):
        read(npz_of(tmp_path / "b.npz", **images_only))


@pytest.mark.parametrize(
    "shape",
    ["'(6, ", "(1000000000000, 28, 28)", "(6, 1000000, 1000000)", "(-6, 28, 28)", f"(6, {10**400}, 2)", "(6,) * 9"],
)
def test_a_declared_shape_is_not_believed(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    forged = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(100)
    labels = io.BytesIO()
    np.save(labels, np.zeros(6, np.uint8))
    with pytest.raises(BadArchive):
        read(zip_of(tmp_path / "a", {"train_images.npy": forged, "train_labels.npy": labels.getvalue()}))
    with pytest.raises(BadArchive):
        read(zip_of(tmp_path / "b", {"train_images.npy": labels.getvalue(), "train_labels.npy": forged}))


def test_a_header_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    forged = b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little") + bytes(1000)
    with pytest.raises(BadArchive, match="no plain array"):
        read(zip_of(tmp_path / "a", {"train_images.npy": forged, "train_labels.npy": forged}))


def test_an_array_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, medmnist()["train_images"])
    labels = io.BytesIO()
    np.save(labels, np.zeros(6, np.uint8))
    content = {"train_images.npy": buffer.getvalue()[:-100], "train_labels.npy": labels.getvalue()}
    with pytest.raises(BadArchive, match="cut short"):
        read(zip_of(tmp_path / "a", content))


def test_limits_hold_for_arrays(tmp_path: Path) -> None:
    path = npz_of(tmp_path / "a.npz", **medmnist())
    with pytest.raises(BadArchive, match="more than 10 files"):
        read(path, max_entries=10)
    bomb = medmnist() | {"train_images": np.zeros((6, 5000, 5000), np.uint8)}
    with pytest.raises(BadArchive, match="200 times its size"):
        read(npz_of(tmp_path / "b.npz", **bomb))


def test_a_zip_with_images_beside_arrays_is_a_zip(tmp_path: Path) -> None:
    path = npz_of(tmp_path / "a.npz", **medmnist())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/readme.txt", "x")
    assert read(path) == []

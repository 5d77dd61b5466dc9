"""CIFAR's Python archives are read, and nothing that their pickles may ask for is ever run."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.archive import candidates, look
from ml.errors import BadArchive
from ml.ingest_options import ArchiveLimits
from tests.ml.factories import tar_of

PIXELS = np.arange(4 * 3072, dtype=np.uint32).astype(np.uint8).reshape(4, 3072)


def ten(protocol: int = 2) -> dict[str, bytes]:
    batch = {b"data": PIXELS, b"labels": [0, 1, 1, 0], b"filenames": [b"x.png"] * 4}
    return {
        "cifar-10-batches-py/data_batch_1": pickle.dumps(batch, protocol),
        "cifar-10-batches-py/test_batch": pickle.dumps(batch, protocol),
        "cifar-10-batches-py/readme.html": b"<html>",
        "cifar-10-batches-py/batches.meta": pickle.dumps({b"label_names": [b"cat", b"dog"]}, protocol),
    }


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_batches_of_any_pickle_become_images(tmp_path: Path, protocol: int) -> None:
    left_out: dict[str, str] = {}
    path = tar_of(tmp_path / "cifar-10-python.tar.gz", ten(protocol), "gz")
    found = list(candidates(path, ArchiveLimits(), left_out.__setitem__))
    assert [(one.label, one.split) for one in found] == [
        *[(label, "train") for label in ("cat", "dog", "dog", "cat")],
        *[(label, "test") for label in ("cat", "dog", "dog", "cat")],
    ]
    expected_HWC = PIXELS[1].reshape(3, 32, 32).transpose(1, 2, 0)
    assert (found[1].load() == expected_HWC).all()
    assert found[0].peek() == ("array", 32, 32)
    assert list(left_out) == ["cifar-10-batches-py/readme.html", "cifar-10-batches-py/batches.meta"]
    assert "CIFAR" in look(path, ArchiveLimits()).label_rule


def test_the_superclass_of_cifar100_is_metadata(tmp_path: Path) -> None:
    batch = {"data": PIXELS, "fine_labels": [0, 1, 1, 0], "coarse_labels": [0, 0, 0, 0]}
    names = {"fine_label_names": ["apple", "aquarium fish"], "coarse_label_names": ["things"]}
    content = {"cifar-100-python/meta": pickle.dumps(names), "cifar-100-python/train": pickle.dumps(batch)}
    found = list(candidates(tar_of(tmp_path / "a.tar", content), ArchiveLimits(), lambda path, reason: None))
    assert [(one.label, one.metadata) for one in found][1] == ("aquarium fish", {"superclass": "things"})


class Evil:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.place}",)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({b"data": "evil"}, "asks for"),
        ({b"data": PIXELS.astype(np.float32)}, "cannot be read"),
        ({b"data": PIXELS[:, :9]}, "shape"),
        ({b"data": [1, 2]}, "no array"),
        ({b"labels": [0]}, "4 images, but 1 labels"),
        ({b"labels": [0, 1, 1, 7]}, "no name"),
        ({b"labels": [0, 1, 1, "x"]}, "no name"),
    ],
)
def test_a_batch_that_is_not_one_is_refused_and_nothing_runs(tmp_path: Path, changes: Any, cause: str) -> None:
    place = tmp_path / "ran"
    batch = {b"data": PIXELS, b"labels": [0, 1, 1, 0]} | changes
    if isinstance(batch[b"data"], str):
        batch[b"data"] = Evil(place)
    path = tar_of(tmp_path / "a.tar.gz", ten() | {"cifar-10-batches-py/data_batch_1": pickle.dumps(batch, 2)}, "gz")
    with pytest.raises(BadArchive, match=cause):
        list(candidates(path, ArchiveLimits(), lambda path, reason: None))
    assert not place.exists()


@pytest.mark.parametrize(
    "data", [b"", b"no pickle", b"\x80\x02(" * 5000, pickle.dumps([1]), b"\x80\x04\x8e" + b"\xff" * 8]
)
def test_damaged_names_are_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BadArchive, match=r"cannot be read|no classes"):
        look(tar_of(tmp_path / "a.tar", ten() | {"cifar-10-batches-py/batches.meta": data}), ArchiveLimits())

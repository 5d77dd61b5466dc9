import hashlib
import io
import os
import pickle
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml import sources
from ml.errors import Cancelled, MissingSource
from ml.ingest_options import ArchiveLimits
from ml.sources import SOURCES, Published, candidates_of
from tests.ml.factories import medmnist, npz_of
from tests.ml.file_server import serving

DATA = os.environ.get("APP_TEST_DATA")


def published(path: Path, name: str, monkeypatch: pytest.MonkeyPatch, address: str = "http://127.0.0.1:9") -> None:
    """Declares this file to be the published one; at the usual address nobody answers."""
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    source = replace(SOURCES[name], published=Published(path.name, md5, f"{address}/{path.name}"))
    monkeypatch.setitem(sources.SOURCES, name, source)


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(MissingSource, match="Known are synthetic, breastmnist"):
        candidates_of("mnist", None, tmp_path, ArchiveLimits())


def test_synthetic_images_need_no_file(tmp_path: Path) -> None:
    found = Counter(image.label for image in candidates_of("synthetic", None, tmp_path, ArchiveLimits()))
    assert found == {"benign": 300, "malignant": 300}


def test_a_file_that_cannot_be_had_is_named_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(npz_of(tmp_path / "breastmnist_64.npz", **medmnist()), "breastmnist_64", monkeypatch)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingSource, match=r"'breastmnist_64\.npz' .* \(md5 \w{32}\) .*APP_DATASETS_DIR"):
        candidates_of("breastmnist_64", tmp_path / "empty", tmp_path / "empty", ArchiveLimits())


def test_a_download_ticks_and_brings_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = npz_of(tmp_path / "breastmnist_64.npz", **medmnist())
    ticks: list[bool] = []
    (tmp_path / "scratch").mkdir()
    with serving(path.read_bytes()) as address:
        published(path, "breastmnist_64", monkeypatch, address)
        found = candidates_of("breastmnist_64", None, tmp_path / "scratch", ArchiveLimits(), lambda: ticks.append(True))
    assert ticks
    assert len(list(found)) == 18


def test_a_download_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop() -> None:
        raise Cancelled

    path = npz_of(tmp_path / "breastmnist_64.npz", **medmnist())
    (tmp_path / "scratch").mkdir()
    with serving(path.read_bytes()) as address:
        published(path, "breastmnist_64", monkeypatch, address)
        with pytest.raises(Cancelled):
            candidates_of("breastmnist_64", None, tmp_path / "scratch", ArchiveLimits(), stop)


def test_a_file_of_other_content_is_refused(tmp_path: Path) -> None:
    npz_of(tmp_path / "breastmnist.npz", **medmnist())
    with pytest.raises(MissingSource, match="expected is 750601b1f35ba3300ea97c75c52ff8f6"):
        candidates_of("breastmnist", tmp_path, tmp_path, ArchiveLimits())


def test_breastmnist_from_the_folder_has_named_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(npz_of(tmp_path / "breastmnist_64.npz", **medmnist()), "breastmnist_64", monkeypatch)
    found = list(candidates_of("breastmnist_64", tmp_path, tmp_path / "scratch", ArchiveLimits()))
    assert Counter(image.label for image in found) == {"malignant": 9, "normal or benign": 9}


@pytest.mark.skipif(not DATA, reason="APP_TEST_DATA is not set")
def test_the_published_breastmnist_file_is_accepted(tmp_path: Path) -> None:
    found = Counter(
        (image.split, image.label)
        for image in candidates_of("breastmnist_64", Path(str(DATA)), tmp_path, ArchiveLimits())
    )
    assert (found["test", "malignant"], found["test", "normal or benign"]) == (42, 114)


def cifar10_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file laid out as CIFAR-10's, which torchvision is told to expect."""
    from ml.torchvision_cpu import torchvision

    parts = {"train": [0, 1, 2, 3], "test": [1, 0]}
    content = {
        name: pickle.dumps({"data": np.full((len(labels), 3072), 7, np.uint8), "labels": labels})
        for name, labels in parts.items()
    }
    content["meta"] = pickle.dumps({"label_names": list("abcd")})
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as archive:
        for name, data in content.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    md5 = {name: hashlib.md5(data, usedforsecurity=False).hexdigest() for name, data in content.items()}
    cifar = torchvision.datasets.CIFAR10
    monkeypatch.setattr(cifar, "train_list", [["train", md5["train"]]])
    monkeypatch.setattr(cifar, "test_list", [["test", md5["test"]]])
    monkeypatch.setattr(cifar, "meta", {"filename": "meta", "key": "label_names", "md5": md5["meta"]})
    published(folder / "cifar-10-python.tar.gz", "cifar10", monkeypatch)
    monkeypatch.setattr(cifar, "tgz_md5", SOURCES["cifar10"].published.md5)  # type: ignore[union-attr]


def test_cifar10_from_the_folder_is_read_by_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, scratch = tmp_path / "folder", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    cifar10_of(folder, monkeypatch)
    found = list(candidates_of("cifar10", folder, scratch, ArchiveLimits()))
    assert [(image.path, image.label, image.split) for image in found[3:5]] == [
        ("train/d/00003", "d", "train"),
        ("test/b/00000", "b", "test"),
    ]
    assert found[0].load().shape == (32, 32, 3)
    assert [path.name for path in folder.iterdir()] == ["cifar-10-python.tar.gz"]

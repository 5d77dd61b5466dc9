"""Well-known data sets by name: taken from a folder where they lie there, else downloaded, always checked by md5."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import requests

from ml import synthetic
from ml.archive import Candidate, candidates
from ml.config import Split
from ml.errors import MissingSource
from ml.images import Header, ImageArray
from ml.ingest_options import ArchiveLimits

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = (10, 60)  # to connect, between two packets
_BREASTMNIST_LABELS = {"0": "malignant", "1": "normal or benign"}


@dataclass(frozen=True)
class Published:
    """A file that others publish, and how to know it."""

    file: str
    md5: str
    url: str


@dataclass(frozen=True)
class Source:
    """A data set that can be brought in by name; without a published file it is made here."""

    title: str
    description: str
    licence: str
    published: Published | None = None


def _breastmnist(size_px: int, md5: str) -> Source:
    file = "breastmnist.npz" if size_px == 28 else f"breastmnist_{size_px}.npz"
    return Source(
        f"BreastMNIST, {size_px} px",
        "780 breast ultrasound images: malignant, or normal or benign",
        "CC BY 4.0. Yang et al., MedMNIST v2, Scientific Data 2023; Al-Dhabyani et al., Data in Brief 2020",
        Published(file, md5, f"https://zenodo.org/records/10519652/files/{file}?download=1"),
    )


SOURCES: dict[str, Source] = {
    "synthetic": Source(
        "Synthetic lesions",
        "600 drawn images that look like ultrasound; made on this machine, without medical value",
        "Part of this program",
    ),
    "breastmnist": _breastmnist(28, "750601b1f35ba3300ea97c75c52ff8f6"),
    "breastmnist_64": _breastmnist(64, "742edef2a1fd1524b2efff4bd7ba9364"),
    "breastmnist_128": _breastmnist(128, "363e4b3f8d712e9b5de15470a2aaadf1"),
    "breastmnist_224": _breastmnist(224, "b56378a6eefa9fed602bb16d192d4c8b"),
    "cifar10": Source(
        "CIFAR-10",
        "60,000 photographs of 32 px in ten classes, through torchvision",
        "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        Published(
            "cifar-10-python.tar.gz",
            "c58f30108f718f92721af3b95e74349a",
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        ),
    ),
}


def candidates_of(
    name: str, folder: Path | None, scratch: Path, limits: ArchiveLimits, tick: Callable[[], None] = lambda: None
) -> Iterator[Candidate]:
    """The images of a well-known data set. Files are made or downloaded in `scratch`, before this returns.

    `folder` may hold the published file, under its own name. `tick` is called all along a download and may raise to
    stop it. Raises MissingSource where there is no way to the file.
    """
    if name not in SOURCES:
        raise MissingSource(f"There is no data set named '{name}'. Known are {', '.join(SOURCES)}.")
    published = SOURCES[name].published
    if published is None:
        path = scratch / "synthetic.zip"
        synthetic.write_archive(path)
        return _trusted(path, limits)
    path = _file(published, folder, scratch, tick)
    if name == "cifar10":
        return _cifar10(path, scratch)
    return (replace(image, label=_BREASTMNIST_LABELS[image.label]) for image in _trusted(path, limits))


def _trusted(path: Path, limits: ArchiveLimits) -> Iterator[Candidate]:
    return candidates(path, limits, lambda path, reason: None)


def _file(published: Published, folder: Path | None, scratch: Path, tick: Callable[[], None]) -> Path:
    """The file with the right md5, in `folder` or downloaded to `scratch`. Raises MissingSource."""
    if folder is not None and (folder / published.file).is_file():
        _check_md5(folder / published.file, published)
        return folder / published.file
    path = scratch / published.file
    try:
        _download(published.url, path, tick)
    except (requests.RequestException, OSError) as error:
        raise MissingSource(
            f"'{published.file}' could not be downloaded from {published.url} ({type(error).__name__}). Put it "
            f"(md5 {published.md5}) into the folder that APP_DATASETS_DIR names, and try again."
        ) from error
    _check_md5(path, published)
    return path


def _download(url: str, path: Path, tick: Callable[[], None]) -> None:
    with requests.get(url, stream=True, timeout=_TIMEOUT_S) as response, path.open("wb") as file:
        response.raise_for_status()
        for chunk in response.iter_content(_CHUNK_BYTES):
            file.write(chunk)
            tick()


def _check_md5(path: Path, published: Published) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != published.md5:
        raise MissingSource(
            f"'{path.name}' is not the published file: its md5 is {found}, expected is {published.md5}. Download it "
            f"again from {published.url}."
        )


def _small() -> Header:
    return Header("array", 32, 32)


def _cifar10(path: Path, scratch: Path) -> Iterator[Candidate]:
    """Read by torchvision, which checks the md5 of every part before it unpickles it."""
    from ml.torchvision_cpu import torchvision

    beside = scratch / path.name  # torchvision unpacks beside the file
    if not beside.exists():
        beside.symlink_to(path.resolve())
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        images = torchvision.datasets.CIFAR10(str(scratch), train=split == "train", download=True)
        for index, (pixels_HWC, target) in enumerate(zip(images.data, images.targets, strict=True)):
            label = images.classes[target]
            yield Candidate(f"{split}/{label}/{index:05d}", label, split, partial(ImageArray, pixels_HWC), _small)

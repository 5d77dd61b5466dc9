"""Images in NumPy arrays, laid out as MedMNIST does: `{train,val,test}_images` and `{train,val,test}_labels`.

Arrays are read image by image, never whole, and never unpickled. Source of the layout:
https://github.com/MedMNIST/MedMNIST
"""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ml.budget import Budget, damage_reported
from ml.config import Split
from ml.containers import check_directory
from ml.errors import BadArchive
from ml.images import Header, ImageArray
from ml.ingest_options import ArchiveLimits

_SPLITS: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}
_EXPECTED = "Expected are the arrays {train,val,test}_{images,labels}."


@dataclass(frozen=True)
class ArrayImage:
    """One image of an array."""

    path: str
    label: str
    split: Split
    pixels: ImageArray
    header: Header


def is_npz(path: Path, limits: ArchiveLimits) -> bool:
    """Whether this zip holds arrays and nothing else. Raises BadArchive where it is damaged."""
    with damage_reported():
        check_directory(path, limits)
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    return bool(names) and all(name.endswith(".npy") for name in names)


def images_of(path: Path, limits: ArchiveLimits) -> Iterator[ArrayImage]:
    """The images of all splits; class names are the label numbers. Raises BadArchive, also on the way."""
    budget = Budget(path, limits)
    with damage_reported(), zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        prefixes = [prefix for prefix in _SPLITS if f"{prefix}_images.npy" in names]
        if not prefixes:
            raise BadArchive(f"The npz file has none of the known arrays. {_EXPECTED}")
        for prefix in prefixes:
            if f"{prefix}_labels.npy" not in names:
                raise BadArchive(f"The npz file has {prefix}_images but no {prefix}_labels. {_EXPECTED}")
            labels_N = _labels(archive, f"{prefix}_labels.npy", budget)
            yield from _images(archive, f"{prefix}_images.npy", prefix, labels_N, budget)


def _labels(archive: zipfile.ZipFile, name: str, budget: Budget) -> NDArray[np.int64]:
    with archive.open(name) as stream:
        shape, dtype = _header(stream, name)
        if dtype.kind not in "iub" or shape not in {shape[:1], (*shape[:1], 1)}:
            raise BadArchive(f"{name} holds {dtype} in shape {shape}; one whole number per image is needed.")
        if shape and shape[0] > budget.limits.max_entries:
            raise BadArchive(f"{name} has more than {budget.limits.max_entries} images. Split the data set up.")
        data = _read_exactly(stream, int(np.prod(shape)) * dtype.itemsize, name, budget)
    return np.frombuffer(data, dtype).astype(np.int64)


def _images(
    archive: zipfile.ZipFile, name: str, prefix: str, labels_N: NDArray[np.int64], budget: Budget
) -> Iterator[ArrayImage]:
    with archive.open(name) as stream:
        shape, dtype = _header(stream, name)
        if dtype != np.uint8 or not (len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))):
            raise BadArchive(f"{name} holds {dtype} in shape {shape}; uint8 in (N, H, W) or (N, H, W, 3) is needed.")
        if shape[0] != len(labels_N):
            raise BadArchive(f"{name} has {shape[0]} images, but there are {len(labels_N)} labels.")
        if np.prod(shape[1:3], dtype=float) > budget.limits.max_image_megapixels * 1e6 or 0 in shape[1:]:
            limit = budget.limits.max_image_megapixels
            raise BadArchive(f"{name} has images of {shape[1]} x {shape[2]} pixels; at most {limit} megapixels fit.")
        for index, label in enumerate(labels_N.tolist()):
            budget.count_entry()
            pixels = np.frombuffer(_read_exactly(stream, int(np.prod(shape[1:])), name, budget), np.uint8)
            image, header = ImageArray(pixels.reshape(shape[1:])), Header("array", shape[2], shape[1])
            name = f"{prefix}/{label}/{index:05d}"
            yield ArrayImage(name, str(label), _SPLITS[prefix], image, header)


def _header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type; objects, which only pickle could read, are refused."""
    if np.lib.format.read_magic(stream) != (1, 0):  # later versions are for records, and their headers may be 4 GiB
        raise BadArchive(f"{name} is no plain array. Save plain numbers.")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise BadArchive(f"{name} holds Python objects, which are never loaded. Save plain numbers.")
    if is_fortran and len(shape) > 1:
        raise BadArchive(f"{name} is stored column by column. Save np.ascontiguousarray(array).")
    if any(length < 0 for length in shape):
        raise BadArchive(f"{name} has the impossible shape {shape}.")
    return shape, dtype


def _read_exactly(stream: IO[bytes], size: int, name: str, budget: Budget) -> bytes:
    data = stream.read(size)
    budget.count_bytes(len(data))
    if len(data) != size:
        raise BadArchive(f"{name} is cut short. Save the file and upload it again.")
    return data

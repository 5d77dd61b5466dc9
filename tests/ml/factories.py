"""Builders of images and archives, in memory, with the libraries that people use."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def noise(seed: int = 0, height: int = 20, width: int = 24) -> NDArray[np.uint8]:
    """An RGB image that no other seed gives, shape (H, W, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: Image.Image | NDArray[Any], format: str = "PNG", **options: Any) -> bytes:
    """The image as a file."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, format, **options)
    return buffer.getvalue()


def files(
    *labels: str, count: int = 4, prefix: str = "", suffix: str = ".png", first_seed: int = 0
) -> dict[str, bytes]:
    """`count` different images for each label, under `prefix/label/`."""
    return {
        f"{prefix}{label}/{number}{suffix}": encoded(noise(first_seed + 1000 * position + number))
        for position, label in enumerate(labels)
        for number in range(count)
    }


def zip_bytes(content: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def zip_of(path: Path, content: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def tar_of(path: Path, content: Mapping[str, bytes], compression: str = "", *others: tarfile.TarInfo) -> Path:
    with tarfile.open(path, f"w:{compression}") as archive:  # type: ignore[call-overload]
        for other in others:
            archive.addfile(other)
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def npz_of(path: Path, **arrays: NDArray[Any]) -> Path:
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    return path


def medmnist(count: int = 6, **changes: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Grey images 28 px of two classes in three splits, as MedMNIST lays them out."""
    arrays: dict[str, NDArray[Any]] = {}
    for seed, split in enumerate(("train", "val", "test")):
        generator = np.random.default_rng(seed)
        arrays[f"{split}_images"] = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 2).reshape(-1, 1).astype(np.uint8)
    return arrays | changes

"""Precision and recall of the search for near copies, beside a plain perceptual hash on the same pictures.

The pictures are real: breast ultrasound, histology, photographs, from the folder `APP_TEST_DATA`. Of every fifth
picture copies are made by known transforms; a right answer joins each copy with its origin and with nothing else.
Copies that the sets held before are found first, by the search itself, and left out: they count for neither side. The
plain side is pHash: the signs of the 8 x 8 lowest frequencies of a 32 x 32 grey picture, a pair where at most 8 of 64
differ.
"""

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from ml.fingerprints import SIDE, Fingerprints, fingerprint
from ml.similarity import near_pairs

Picture = Image.Image
Pairs = set[tuple[int, int]]
PHOTOGRAPHS = 2_000
EVERY = 5
MOST_DIFFERENT_BITS = 8


def main() -> None:
    data = Path(os.environ.get("APP_TEST_DATA", ""))
    if not (data / "breastmnist_224_rebuilt.npz").is_file():
        print("APP_TEST_DATA names no folder with breastmnist_224_rebuilt.npz; nothing is measured.")
        print(json.dumps({"precision": None, "recall": None}))
        return
    sets = {"ultrasound": _ultrasound(data), "histology": _histology(data), "photographs": _photographs(data)}
    print(
        f"{'pictures':<14}{'copies made by':<28}{'recall':>9}{'precision':>11}"
        f"{'pHash recall':>14}{'pHash precision':>17}"
    )
    totals = np.zeros(6, int)
    for name, pictures in sets.items():
        alone = _without_copies(pictures)
        for change, make in CHANGES.items():
            found = _judged(alone, make)
            totals += found
            print(f"{name:<14}{change:<28}{_row(found)}")
    print(f"{'all':<42}{_row(totals)}")
    made, right, wrong, _, plain_right, plain_wrong = map(int, totals)
    figures = {
        "precision": round(right / (right + wrong), 4),
        "recall": round(right / made, 4),
        "phash_precision": round(plain_right / (plain_right + plain_wrong), 4),
        "phash_recall": round(plain_right / made, 4),
    }
    print(json.dumps(figures))


def _judged(pictures: list[Picture], make: Callable[[Picture, np.random.Generator], Picture]) -> NDArray[np.int64]:
    """Copies made, right pairs, wrong pairs; the same again for the plain hash."""
    generator = np.random.default_rng(0)
    origins = range(0, len(pictures), EVERY)
    copies = [make(pictures[origin], generator) for origin in origins]
    prints_NP = np.stack([fingerprint(np.asarray(picture)) for picture in [*pictures, *copies]])
    wanted = {(origin, len(pictures) + number) for number, origin in enumerate(origins)}
    ours, plain = set(_near_pairs(prints_NP)), _phash_pairs(prints_NP)
    counts = [[len(wanted), len(found & wanted), len(found - wanted)] for found in (ours, plain)]
    return np.array(counts).reshape(-1)


def _row(counts: NDArray[np.int64]) -> str:
    made, right, wrong, _, plain_right, plain_wrong = counts
    shares = (
        right / made,
        right / max(right + wrong, 1),
        plain_right / made,
        plain_right / max(plain_right + plain_wrong, 1),
    )
    return "{:>9.3f}{:>11.3f}{:>14.3f}{:>17.3f}".format(*shares)


def _without_copies(pictures: list[Picture]) -> list[Picture]:
    prints_NP = np.stack([fingerprint(np.asarray(picture)) for picture in pictures])
    later = {right for _, right in _near_pairs(prints_NP)}
    return [picture for number, picture in enumerate(pictures) if number not in later]


def _near_pairs(prints_NP: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    with Fingerprints.of(prints_NP) as prints:
        yield from near_pairs(prints, np.arange(len(prints_NP)))


def _phash_pairs(prints_NP: NDArray[np.uint8]) -> Pairs:
    cosines_FS = np.cos(np.pi * (np.arange(SIDE) + 0.5) * np.arange(8)[:, None] / SIDE)
    spectra_NF = (cosines_FS @ prints_NP.reshape(-1, SIDE, SIDE).astype(float) @ cosines_FS.T).reshape(
        len(prints_NP), -1
    )
    signs_NF = np.where(spectra_NF > np.median(spectra_NF, axis=1, keepdims=True), 1.0, -1.0)
    different_NN = (64 - signs_NF @ signs_NF.T) / 2
    left, right = np.nonzero(np.triu(different_NN <= MOST_DIFFERENT_BITS, 1))
    return set(zip(left.tolist(), right.tolist(), strict=True))


def _ultrasound(data: Path) -> list[Picture]:
    with np.load(data / "breastmnist_224_rebuilt.npz") as arrays:
        return [
            Image.fromarray(image).convert("RGB")
            for split in ("train", "val", "test")
            for image in arrays[f"{split}_images"]
        ]


def _histology(data: Path) -> list[Picture]:
    return [Image.open(path).convert("RGB") for path in sorted((data / "breakhis-patches").rglob("*.png"))]


def _photographs(data: Path) -> list[Picture]:
    def all_files() -> Iterable[bytes]:
        with tarfile.open(data / "cifar10-jpeg.tar.xz") as tar:
            for entry in tar:
                if entry.isfile() and (stream := tar.extractfile(entry)):
                    yield stream.read()

    chosen = (content for number, content in enumerate(all_files()) if number % 25 == 0)
    return [
        Image.open(io.BytesIO(content)).convert("RGB") for content, _ in zip(chosen, range(PHOTOGRAPHS), strict=False)
    ]


def _compressed(picture: Picture, quality: int) -> Picture:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def _cropped(picture: Picture, generator: np.random.Generator, most: float) -> Picture:
    width, height = picture.size
    left, top, right, bottom = generator.uniform(0, most, 4)
    return picture.crop(
        (round(left * width), round(top * height), round((1 - right) * width), round((1 - bottom) * height))
    )


def _everything(picture: Picture, generator: np.random.Generator) -> Picture:
    changed = _cropped(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), generator, 0.05)
    return _compressed(changed.resize((round(0.7 * changed.width), round(0.7 * changed.height))), 60)


CHANGES: dict[str, Callable[[Picture, np.random.Generator], Picture]] = {
    "flip left to right": lambda picture, _: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "flip upside down": lambda picture, _: picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    "half the size": lambda picture, _: picture.resize(
        (picture.width // 2, picture.height // 2), Image.Resampling.BICUBIC
    ),
    "JPEG, quality 40": lambda picture, _: _compressed(picture, 40),
    "crop, up to 4 % a side": lambda picture, generator: _cropped(picture, generator, 0.04),
    "crop, up to 8 % a side": lambda picture, generator: _cropped(picture, generator, 0.08),
    "brighter by a quarter": lambda picture, _: ImageEnhance.Brightness(picture).enhance(1.25),
    "less contrast, 0.7": lambda picture, _: ImageEnhance.Contrast(picture).enhance(0.7),
    "flip, crop, resize, JPEG": _everything,
}


if __name__ == "__main__":
    main()

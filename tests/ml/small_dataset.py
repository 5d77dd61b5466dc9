"""A data set of a few drawn images, packed as an ingest packs it: dark and bright discs on noise."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.config import Split
from ml.images import pixel_sha256
from ml.manifest import ImageRow, Manifest
from ml.pack import PackReader, PackWriter, encode


@dataclass(frozen=True)
class SmallDataset:
    manifest: Manifest
    packs: PackReader


def draw(is_bright: bool, size_px: int, seed: int) -> NDArray[np.uint8]:
    """One grey image in three channels, HWC."""
    random = np.random.default_rng(seed)
    row_HW, column_HW = np.indices((size_px, size_px)) - size_px / 2 - random.uniform(-3, 3)
    disc_HW = np.hypot(row_HW, column_HW) < size_px / 4
    grey_HW = random.normal(110, 25, (size_px, size_px)) + (70 if is_bright else -70) * disc_HW
    return np.repeat(grey_HW.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def build(
    folder: Path,
    train: int = 8,
    validation: int = 4,
    test: int = 4,
    size_px: int = 32,
    classes: tuple[str, ...] = ("benign", "malignant"),
) -> SmallDataset:
    """So many images in each split, the classes in turn."""
    splits: list[Split] = ["train"] * train + ["validation"] * validation + ["test"] * test
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    with PackWriter(folder) as writer:
        for number, split in enumerate(splits):
            label = classes[number % len(classes)]
            image_HWC = draw(number % len(classes) == 1, size_px, number)
            place = writer.add(encode(image_HWC))
            rows.append(
                ImageRow(
                    path=f"{label}/{number}.png",
                    label=label,
                    split=split,
                    group=None,
                    sha256=pixel_sha256(image_HWC),
                    width=size_px,
                    height=size_px,
                    **place._asdict(),
                    metadata={},
                    issues=[],
                )
            )
    positive_class = classes[1] if len(classes) == 2 else None
    manifest = Manifest(format="manifest/1", classes=classes, positive_class=positive_class, rows=tuple(rows))
    return SmallDataset(manifest, PackReader(writer.paths))

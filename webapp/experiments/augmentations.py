"""One image of a data set as training would see it, several times over."""

import base64
import itertools
import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml import draws, images
from ml.config import TrainConfig
from ml.images import InputSpec
from ml.manifest import ImageRow
from webapp.datasets import contents
from webapp.errors import Invalid
from webapp.models import Dataset

DRAWS = 12


@dataclass(frozen=True)
class Preview:
    """The pictures are addresses that hold their bytes."""

    number: int
    row: ImageRow
    original: str
    draws: list[str]


def preview(dataset: Dataset, number: int | None, config: TrainConfig) -> Preview:
    """The training image in row `number` or the next one after it, any one for None, through 12 random changes.

    An image keeps its random numbers, so that a changed setting shows what it changes. Raises Invalid.
    """
    number, row = _training_image(dataset, number)
    spec = InputSpec(size_px=config.image_size_px)
    pixels_CHW = images.to_input(images.decode(contents.image_bytes(dataset, number)), spec)
    image_HWC = np.ascontiguousarray(pixels_CHW.transpose(1, 2, 0))
    generator = np.random.default_rng(number)
    drawn = draws.draw(DRAWS, config.augmentation, lambda n: generator.random(n, np.float32), spec.size_px)
    changed = [draws.apply(image_HWC, drawn, index) for index in range(DRAWS)]
    return Preview(number, row, _address(image_HWC), [_address(pixels) for pixels in changed])


def _training_image(dataset: Dataset, number: int | None) -> tuple[int, ImageRow]:
    start = secrets.randbelow(max(1, dataset.images)) if number is None else max(0, number)
    wanted = {"split": "train", "quarantined": False}
    rows = itertools.chain(contents.rows_of(dataset, start, **wanted), contents.rows_of(dataset, 0, **wanted))
    found = next(rows, None)
    if found is None:
        raise Invalid(f"Data set {dataset.id} has no training images. Choose another one.", {"dataset_id": "no images"})
    return found


def _address(image_HWC: NDArray[np.uint8]) -> str:
    jpeg = images.thumbnail(image_HWC, max(image_HWC.shape))
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()

"""Near copies are found whatever was done to the picture, and other pictures are not taken for copies."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from ml import synthetic
from ml.fingerprints import Fingerprints, fingerprint
from ml.similarity import clusters

COUNT = 60


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    generator = np.random.default_rng(0)
    labels = [("benign", "malignant")[number % 2] for number in range(COUNT)]
    return [Image.fromarray(synthetic.draw(label, 96, generator)).convert("RGB") for label in labels]


def clusters_of(pictures: list[Image.Image]) -> list[int | None]:
    prints = np.stack([fingerprint(np.asarray(picture)) for picture in pictures])
    with Fingerprints.of(prints) as kept:
        return clusters(kept, [picture.tobytes().hex() for picture in pictures])


def compressed(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=50)
    return Image.open(buffer).convert("RGB")


CHANGES = {
    "a flip": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "a flip upside down": lambda picture: picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    "half the size": lambda picture: picture.resize((48, 48)),
    "compression": compressed,
    "a crop": lambda picture: picture.crop((4, 2, 92, 93)),
    "more light": lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
    "less contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(0.7),
    "a flip, a crop and a smaller size": lambda picture: (
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).crop((2, 2, 94, 92)).resize((60, 60))
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_picture_joins_its_origin_and_no_other(pictures: list[Image.Image], name: str) -> None:
    changed = [CHANGES[name](picture) for picture in pictures[::6]]
    found = clusters_of([*pictures, *changed])
    assert found[COUNT:] == list(range(len(changed)))
    assert found[:COUNT:6] == found[COUNT:]
    assert sum(cluster is not None for cluster in found) == 2 * len(changed)


def test_different_pictures_are_alone(pictures: list[Image.Image]) -> None:
    assert clusters_of(pictures) == [None] * COUNT


def test_copies_of_copies_are_one_cluster_in_any_order(pictures: list[Image.Image]) -> None:
    first = pictures[0]
    chain = [*pictures, compressed(first), CHANGES["a flip"](first), first]
    assert [index for index, cluster in enumerate(clusters_of(chain)) if cluster is not None] == [0, 60, 61, 62]
    assert [index for index, cluster in enumerate(clusters_of(chain[::-1])) if cluster is not None] == [0, 1, 2, 62]


def test_pictures_that_show_next_to_nothing_are_copies_only_by_their_pixels() -> None:
    empty = [Image.new("RGB", (40, 40), (grey, grey, grey)) for grey in (0, 1, 2, 2)]
    assert clusters_of(empty) == [None, None, 0, 0]


def test_few_images_and_none_are_no_special_case() -> None:
    assert clusters(np.zeros((0, 1024), np.uint8), []) == []
    assert clusters_of([Image.new("RGB", (3, 300))]) == [None]

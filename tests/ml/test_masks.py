"""Masks beside images are known by their names, and images are not taken for masks."""

import re

import pytest

from ml.masks import PATTERN, propose


@pytest.mark.parametrize(
    "path",
    [
        "benign/benign (1)_mask.png",
        "benign/benign (4)_mask_1.png",
        "a/x_segmentation.tif",
        "a/x-ROI.png",
        "masks/a/1.png",
        "a/Annotations/1.png",
        "a/x.gt.png",
    ],
)
def test_a_mask_is_known_by_its_name(path: str) -> None:
    assert re.search(PATTERN, path)


@pytest.mark.parametrize(
    "path", ["benign/benign (1).png", "unmasked/1.png", "a/damask.png", "masked man/2.png", "gt/1.png"]
)
def test_an_image_is_no_mask(path: str) -> None:
    assert not re.search(PATTERN, path)


def test_nothing_is_proposed_where_all_or_none_look_like_masks() -> None:
    assert propose(["a/1.png", "a/1_mask.png"]) == PATTERN
    assert propose(["a/1.png"]) is None
    assert propose(["a/1_mask.png"]) is None
    assert propose([]) is None

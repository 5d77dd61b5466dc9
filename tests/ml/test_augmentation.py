"""Random changes of training images."""

import pytest
import torch

from ml.augmentation import augment
from ml.config import Augmentation

OFF = Augmentation(horizontal_flip=False, vertical_flip=False, crop_scale=1, rotation_degrees=0, color_jitter=0)


def _only(**fields: object) -> Augmentation:
    return Augmentation.model_validate(OFF.model_dump() | fields)


def _images(n: int = 16) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, 12, 12), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def _augment(settings: Augmentation, seed: int = 0, images: torch.Tensor | None = None) -> torch.Tensor:
    return augment(_images() if images is None else images, settings, torch.Generator().manual_seed(seed))


def test_nothing_changes_when_all_is_off() -> None:
    assert torch.equal(_augment(OFF), _images().float())


@pytest.mark.parametrize(("side", "axis"), [("horizontal_flip", 3), ("vertical_flip", 2)])
def test_a_flip_mirrors_about_half_of_the_images_exactly(side: str, axis: int) -> None:
    before, after = _images(200).float(), _augment(_only(**{side: True}), images=_images(200))
    kept = torch.isclose(after, before, atol=1e-2).all(dim=(1, 2, 3))
    mirrored = torch.isclose(after, before.flip(axis), atol=1e-2).all(dim=(1, 2, 3))
    assert (kept | mirrored).all()
    assert 60 < kept.sum() < 140


def test_a_quarter_turn_is_within_the_range_and_keeps_the_values() -> None:
    after = _augment(_only(rotation_degrees=180))
    assert after.min() >= 0
    assert after.max() <= 255
    assert not torch.allclose(after, _images().float())


def test_a_crop_shows_a_part_of_the_image_enlarged() -> None:
    ramp = torch.linspace(0, 255, 12).repeat(64, 3, 12, 1)
    after = _augment(_only(crop_scale=0.25), images=ramp)
    width = (after[:, 0, 0, -1] - after[:, 0, 0, 0]) / 255
    assert width.min() < 0.65
    assert width.max() <= 1.01


def test_color_jitter_changes_brightness_within_its_range() -> None:
    grey = torch.full((200, 3, 4, 4), 100.0)
    level = _augment(_only(color_jitter=0.2), images=grey).mean(dim=(1, 2, 3))
    assert 79.9 < level.min() < 85
    assert 115 < level.max() < 120.1


def test_grey_images_stay_grey() -> None:
    grey = _images()[:, :1].repeat(1, 3, 1, 1)
    after = _augment(Augmentation(color_jitter=0.5), images=grey)
    assert torch.allclose(after[:, 0], after[:, 2], atol=1e-3)


def test_the_same_seed_gives_the_same_images_and_another_seed_others() -> None:
    settings = Augmentation()
    assert torch.equal(_augment(settings, 1), _augment(settings, 1))
    assert not torch.equal(_augment(settings, 1), _augment(settings, 2))

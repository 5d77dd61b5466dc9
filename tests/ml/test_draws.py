"""What is drawn, shown without torch as it is trained with torch."""

import numpy as np
import pytest
import torch

from ml import augmentation, draws
from ml.config import Augmentation
from ml.draws import Drawn

OFF = Augmentation(horizontal_flip=False, vertical_flip=False, crop_scale=1, rotation_degrees=0, color_jitter=0)


def _picture(side_px: int = 40) -> np.ndarray:
    y_HW, x_HW = np.mgrid[:side_px, :side_px] / side_px
    waves = [np.sin(5 * x_HW + 2 * y_HW), np.cos(7 * x_HW * y_HW), x_HW * 2 - y_HW]
    return (127 + 80 * np.stack(waves, axis=2)).clip(0, 255).astype(np.uint8)


def _drawn(n: int, **changes: object) -> Drawn:
    settings = Augmentation.model_validate(OFF.model_dump() | changes)
    return draws.draw(n, settings, lambda count: np.random.default_rng(3).random(count, np.float32), 40)


@pytest.mark.parametrize(
    "changes",
    [
        {"horizontal_flip": True}, {"vertical_flip": True}, {"crop_scale": 0.2}, {"rotation_degrees": 180},
        {"color_jitter": 0.6}, {"random_erasing": 1.0}, {"shift_px": 9},
        Augmentation(vertical_flip=True, color_jitter=0.3).model_dump(),
    ],
)  # fmt: skip
def test_the_page_shows_what_training_sees(changes: dict[str, object]) -> None:
    picture_HWC, drawn = _picture(), _drawn(8, **changes)
    batch_NCHW = torch.from_numpy(picture_HWC).permute(2, 0, 1).repeat(8, 1, 1, 1)
    trained_NHWC = augmentation.apply(batch_NCHW, drawn).permute(0, 2, 3, 1).numpy()
    shown_NHWC = np.stack([draws.apply(picture_HWC, drawn, index) for index in range(8)])
    assert np.abs(shown_NHWC - trained_NHWC).mean() < 0.6
    assert np.abs(shown_NHWC - trained_NHWC).max() < 2
    assert np.abs(shown_NHWC - picture_HWC.astype(float)).mean() > 5  # they are changed


def test_a_turn_by_a_positive_angle_moves_what_is_above_the_middle_to_the_left() -> None:
    picture_HWC = np.zeros((21, 21, 3), np.uint8)
    picture_HWC[0:4, 9:12] = 255
    quarter = Drawn(np.array([[[0, -1, 0], [1, 0, 0]]], np.float32), None)
    turned_HWC = draws.apply(picture_HWC, quarter, 0)
    assert turned_HWC[9:12, 0:4].min() > 250
    assert turned_HWC[0:4, 9:12].max() < 5


def test_what_is_off_draws_nothing_and_changes_nothing() -> None:
    drawn = _drawn(2)
    assert drawn == Drawn(None, None)
    assert np.array_equal(draws.apply(_picture(), drawn, 1), _picture())


def test_the_share_of_erased_images_is_the_probability_and_their_boxes_lie_inside() -> None:
    drawn = _drawn(2_000, random_erasing=0.3)
    assert drawn.boxes_N4 is not None
    top, left, bottom, right = drawn.boxes_N4.T
    area = (bottom - top) * (right - left)
    assert np.mean(area > 0) == pytest.approx(0.3, abs=0.04)
    assert 0.019 < area[area > 0].min() < area.max() < 0.201
    assert min(top.min(), left.min()) >= 0
    assert max(bottom.max(), right.max()) <= 1.0001


def test_a_shift_moves_whole_pixels_and_blurs_nothing() -> None:
    picture_HWC, random, found = _picture(), np.random.default_rng(3), set()
    settings = Augmentation.model_validate(OFF.model_dump() | {"shift_px": 2})
    drawn = draws.draw(60, settings, lambda count: random.random(count, np.float32), 40)
    for index in range(60):
        middle_HWC = draws.apply(picture_HWC, drawn, index)[5:-5, 5:-5]
        for y, x in np.ndindex(5, 5):
            if np.array_equal(middle_HWC, picture_HWC[3 + y : 33 + y, 3 + x : 33 + x]):
                found.add((index, y, x))
    assert len({index for index, _, _ in found}) == 60
    assert len({(y, x) for _, y, x in found}) > 15

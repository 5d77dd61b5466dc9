"""The random changes of training images as numbers, and one image changed by them without torch.

An affine map leads from a place in the changed image to the place in the original that it shows, both from -1 to 1
over the image's sides. `ml.augmentation` applies the same numbers to a batch on the device that trains.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.config import Augmentation

LUMA_RGB = (0.299, 0.587, 0.114)  # ITU-R BT.601
_LARGEST_STRETCH = 4 / 3  # Szegedy et al. 2015, "Going deeper with convolutions": sides of a crop from 3:4 to 4:3

Floats = NDArray[np.float32]
Source = Callable[[int], Floats]  # so many random numbers from 0 up to 1


@dataclass(frozen=True)
class Drawn:
    """What happens to each of N images; None where nothing does. Factors: brightness, contrast, saturation.

    Boxes are painted over with the image's mean colour: top, left, bottom, right, as shares of the sides.
    """

    affine_N23: Floats | None
    factors_3N: Floats | None
    boxes_N4: Floats | None = None

    def of(self, chosen_M: NDArray[np.intp]) -> "Drawn":
        """What happens to the chosen images."""
        return Drawn(
            None if self.affine_N23 is None else self.affine_N23[chosen_M],
            None if self.factors_3N is None else self.factors_3N[:, chosen_M],
            None if self.boxes_N4 is None else self.boxes_N4[chosen_M],
        )


def draw(n: int, settings: Augmentation, source: Source, side_px: int) -> Drawn:
    """The changes of `n` images of this side. What is off takes no random numbers."""
    affine_N23 = _affine(n, settings, source, side_px) if _moves_pixels(settings) else None
    strength = settings.color_jitter
    factors_3N = _uniform(3 * n, 1 - strength, 1 + strength, source).reshape(3, n) if strength > 0 else None
    boxes_N4 = _boxes(n, settings.random_erasing, source) if settings.random_erasing > 0 else None
    return Drawn(affine_N23, factors_3N, boxes_N4)


def _boxes(n: int, probability: float, source: Source) -> Floats:
    """Areas from 2 to 20 %, sides from 3:10 to 10:3 (Zhong et al. 2020, "Random Erasing Data Augmentation")."""
    is_erased = source(n) < probability
    area, ratio = _uniform(n, 0.02, 0.2, source), np.exp(math.log(10 / 3) * _uniform(n, -1, 1, source))
    height, width = np.sqrt(area * ratio).clip(max=1), np.sqrt(area / ratio).clip(max=1)
    top, left = (1 - height) * source(n), (1 - width) * source(n)
    return np.stack([top, left, top + height, left + width], axis=1) * is_erased[:, None].astype(np.float32)


def box_px(box_4: Floats, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a box."""
    top, left, bottom, right = box_4.tolist()
    return slice(round(top * height), round(bottom * height)), slice(round(left * width), round(right * width))


def _moves_pixels(settings: Augmentation) -> bool:
    crops_or_turns = settings.crop_scale < 1 or settings.rotation_degrees > 0
    return crops_or_turns or settings.horizontal_flip or settings.vertical_flip or settings.shift_px > 0


def _uniform(n: int, low: float, high: float, source: Source) -> Floats:
    return np.float32(low) + np.float32(high - low) * source(n)


def _affine(n: int, settings: Augmentation, source: Source, side_px: int) -> Floats:
    area = _uniform(n, settings.crop_scale, 1, source)
    # A full-size crop has no room for stretching, so the stretch is bounded by the area: both sides stay below 1.
    bound = np.minimum(np.log(1 / area), np.float32(math.log(_LARGEST_STRETCH)))
    stretch = np.exp(bound * _uniform(n, -0.5, 0.5, source))
    width, height = np.sqrt(area) * stretch, np.sqrt(area) / stretch
    shift_x = (1 - width) * _uniform(n, -1, 1, source)
    shift_y = (1 - height) * _uniform(n, -1, 1, source)
    angle = np.float32(math.radians(settings.rotation_degrees)) * _uniform(n, -1, 1, source)
    width = width * _signs(n, settings.horizontal_flip, source)
    height = height * _signs(n, settings.vertical_flip, source)
    if settings.shift_px:
        shift_x = shift_x + _whole_pixels(n, settings.shift_px, side_px, source)
        shift_y = shift_y + _whole_pixels(n, settings.shift_px, side_px, source)
    row_x = np.stack([width * np.cos(angle), -height * np.sin(angle), shift_x], axis=1)
    row_y = np.stack([width * np.sin(angle), height * np.cos(angle), shift_y], axis=1)
    return np.stack([row_x, row_y], axis=1)


def _whole_pixels(n: int, most_px: int, side_px: int, source: Source) -> Floats:
    """Shifts in the measure of an affine map; whole pixels, so that a shift alone blurs nothing."""
    pixels_N = np.floor(_uniform(n, -most_px, most_px + 1, source))
    return (pixels_N * 2 / side_px).astype(np.float32)


def _signs(n: int, is_flipping: bool, source: Source) -> Floats:
    return np.where(source(n) < (0.5 if is_flipping else 0), np.float32(-1), np.float32(1))


def apply(image_HWC: NDArray[np.uint8], drawn: Drawn, index: int) -> NDArray[np.uint8]:
    """The image, changed as image `index` of the draw."""
    changed_HWC: Floats = image_HWC.astype(np.float32)
    if drawn.affine_N23 is not None:
        changed_HWC = _resampled(changed_HWC, drawn.affine_N23[index])
    if drawn.factors_3N is not None:
        changed_HWC = _jittered(changed_HWC, *drawn.factors_3N[:, index].tolist())
    if drawn.boxes_N4 is not None:
        mean_C = changed_HWC.mean(axis=(0, 1))
        changed_HWC[box_px(drawn.boxes_N4[index], *changed_HWC.shape[:2])] = mean_C
    return np.rint(changed_HWC).clip(0, 255).astype(np.uint8)


def _resampled(image_HWC: Floats, affine_23: Floats) -> Floats:
    """Bilinear; what lies beyond an edge is its mirror image."""
    height, width = image_HWC.shape[:2]
    y_HW, x_HW = np.meshgrid(_centres(height), _centres(width), indexing="ij")
    from_x_HW, from_y_HW = (a * x_HW + b * y_HW + c for a, b, c in affine_23)
    left_HW, right_HW, across_HW1 = _between(from_x_HW, width)
    top_HW, bottom_HW, down_HW1 = _between(from_y_HW, height)
    above_HWC = image_HWC[top_HW, left_HW] * (1 - across_HW1) + image_HWC[top_HW, right_HW] * across_HW1
    below_HWC = image_HWC[bottom_HW, left_HW] * (1 - across_HW1) + image_HWC[bottom_HW, right_HW] * across_HW1
    return (above_HWC * (1 - down_HW1) + below_HWC * down_HW1).astype(np.float32)


def _centres(side_px: int) -> Floats:
    return ((2 * np.arange(side_px) + 1) / side_px - 1).astype(np.float32)


def _between(place_HW: Floats, side_px: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """The two pixels about each place along one side, and the share of the second."""
    pixel_HW = ((place_HW + 1) * side_px - 1) / 2
    turned_HW = np.mod(pixel_HW + 0.5, 2 * side_px)  # mirrored at the outer edges of the first and the last pixel
    mirrored_HW = np.minimum(turned_HW, 2 * side_px - turned_HW) - 0.5
    inside_HW = mirrored_HW.clip(0, side_px - 1)
    first_HW = np.floor(inside_HW).astype(np.intp)
    return first_HW, np.minimum(first_HW + 1, side_px - 1), (inside_HW - first_HW).astype(np.float32)[..., None]


def _jittered(image_HWC: Floats, brightness: float, contrast: float, saturation: float) -> Floats:
    grey_HW1: Floats = (image_HWC @ np.array(LUMA_RGB, np.float32))[..., None]
    coloured_HWC = grey_HW1 + saturation * (image_HWC - grey_HW1)
    mean = grey_HW1.mean()
    changed_HWC: Floats = brightness * (mean + contrast * (coloured_HWC - mean))
    return changed_HWC

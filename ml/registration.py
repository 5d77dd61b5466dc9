"""Registration: where one small picture lies in another, by a scale and a shift for each axis.

Lucas and Kanade, An Iterative Image Registration Technique, IJCAI 1981. Pictures are squares (P, S, S) whose axes go
from -1 to 1; a place (P, 4) is the scale and shift of y, then of x.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

_NARROWEST, _WIDEST = (0.6, -0.4, 0.6, -0.4), (1.4, 0.4, 1.4, 0.4)  # places on the way
_STEPS = 4

Floats = NDArray[np.float32]


def registered(whole_PSS: Floats, part_PSS: Floats, place_P4: Floats) -> Floats:
    """Where `part` lies in `whole`: scale and shift of y and of x, shape (P, 4), in half sides; found from a place
    that a lower resolution gave, for fine structure alone leads astray.
    """
    smooth_PSS, target_PSS = blurred(whole_PSS), standard(blurred(part_PSS))
    for _ in range(_STEPS):
        place_P4 = _closer(smooth_PSS, target_PSS, place_P4)
    return place_P4


def inverse(place_P4: Floats) -> Floats:
    """Where the whole lies in the part."""
    scale_y, shift_y, scale_x, shift_x = place_P4.T
    return np.stack([1 / scale_y, -shift_y / scale_y, 1 / scale_x, -shift_x / scale_x], axis=1)


def _closer(whole_PSS: Floats, target_PSS: Floats, place_P4: Floats) -> Floats:
    """One step of Gauss and Newton towards the place where the sampled picture agrees with the target."""
    seen_PSS = standard(sampled(whole_PSS, place_P4))
    slope_y, slope_x = np.gradient(seen_PSS, 2 / seen_PSS.shape[1], axis=(1, 2))
    axis_S = _axis(seen_PSS.shape[1])
    directions = [slope_y * axis_S[:, None], slope_y, slope_x * axis_S, slope_x]
    pixels = seen_PSS.shape[1] ** 2
    jacobian_PK4 = np.stack([direction.reshape(-1, pixels) for direction in directions], axis=2)
    missing_PK = (target_PSS - seen_PSS).reshape(-1, pixels)
    normal_P44 = jacobian_PK4.transpose(0, 2, 1) @ jacobian_PK4 + np.eye(4, dtype=np.float32)
    step_P4 = np.linalg.solve(normal_P44, np.einsum("pkd,pk->pd", jacobian_PK4, missing_PK)[..., None])[..., 0]
    # The picture moved at the place where it is seen: that place lies within the one before.
    moved_P4 = place_P4.copy()
    for scale, shift in ((0, 1), (2, 3)):
        moved_P4[:, shift] += place_P4[:, scale] * step_P4[:, shift]
        moved_P4[:, scale] *= 1 + step_P4[:, scale]
    return np.clip(moved_P4, np.array(_NARROWEST, np.float32), np.array(_WIDEST, np.float32))


def sampled(pictures_PSS: Floats, place_P4: Floats) -> Floats:
    """Each picture seen through its window, linearly interpolated; the edge goes on outside."""
    side = pictures_PSS.shape[1]
    rows_PSS = _lines(place_P4[:, 0], place_P4[:, 1], side)
    columns_PSS = _lines(place_P4[:, 2], place_P4[:, 3], side)
    return np.asarray(rows_PSS @ pictures_PSS @ columns_PSS.transpose(0, 2, 1), np.float32)


def _lines(scale_P: Floats, shift_P: Floats, side: int) -> Floats:
    """Matrices (P, S, S) of linear interpolation along one axis, whose coordinates go from -1 to 1."""
    places_PS = (scale_P[:, None] * _axis(side) + shift_P[:, None] + 1) * side / 2 - 0.5
    places_PS = np.clip(places_PS, 0, side - 1)
    distance_PSS = np.abs(places_PS[:, :, None] - np.arange(side, dtype=np.float32))
    return np.asarray(np.maximum(0, 1 - distance_PSS), np.float32)


def blurred(pictures_PSS: Floats, times: int = 1) -> Floats:
    """The pictures after so many binomial blurs."""
    blur_SS = _blur(pictures_PSS.shape[1], times)
    return np.asarray(blur_SS @ pictures_PSS @ blur_SS.T, np.float32)


def standard(pictures_PSS: Floats) -> Floats:
    """The pictures with mean 0 and standard deviation 1."""
    centred_PSS = pictures_PSS - pictures_PSS.mean(axis=(1, 2), keepdims=True)
    return np.asarray(centred_PSS / np.maximum(centred_PSS.std(axis=(1, 2), keepdims=True), 1e-3), np.float32)


@cache
def _axis(side: int) -> Floats:
    """The middle of each pixel on an axis from -1 to 1."""
    return ((np.arange(side) + 0.5) * 2 / side - 1).astype(np.float32)


@cache
def _blur(side: int, times: int) -> Floats:
    """A binomial blur of five pixels along one axis, so many times, shape (S, S)."""
    line_SS = np.zeros((side, side), np.float32)
    places_S = np.arange(side)
    for shift, weight in zip(range(-2, 3), (1, 4, 6, 4, 1), strict=True):
        np.add.at(line_SS, (places_S, np.clip(places_S + shift, 0, side - 1)), weight / 16)
    return np.asarray(np.linalg.matrix_power(line_SS, times), np.float32)

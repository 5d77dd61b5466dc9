"""Random changes of training images, a batch at a time, on the device that trains.

Every random number comes from the generator handed in, on the CPU, so a run repeats itself on any device.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from ml.config import Augmentation

_LARGEST_STRETCH = 4 / 3  # Szegedy et al. 2015, "Going deeper with convolutions": sides of a crop from 3:4 to 4:3
_LUMA_RGB = (0.299, 0.587, 0.114)  # ITU-R BT.601


def augment(images_NCHW: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Float images in [0, 255], each changed in its own way; crop, rotation and flips are one resampling."""
    images_NCHW = images_NCHW.float()
    if _moves_pixels(settings):
        grid_NHW2 = _sampling_grid(images_NCHW, settings, generator)
        images_NCHW = functional.grid_sample(images_NCHW, grid_NHW2, padding_mode="reflection", align_corners=False)
    if settings.color_jitter > 0:
        images_NCHW = _jitter(images_NCHW, settings.color_jitter, generator)
    return images_NCHW


def _moves_pixels(settings: Augmentation) -> bool:
    crops_or_turns = settings.crop_scale < 1 or settings.rotation_degrees > 0
    return crops_or_turns or settings.horizontal_flip or settings.vertical_flip


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=generator)


def _sampling_grid(images_NCHW: Tensor, settings: Augmentation, generator: torch.Generator) -> Tensor:
    n = len(images_NCHW)
    area = _uniform(n, settings.crop_scale, 1, generator)
    # A full-size crop has no room for stretching, so the stretch is bounded by the area: both sides stay below 1.
    bound = torch.minimum(torch.log(1 / area), torch.tensor(math.log(_LARGEST_STRETCH)))
    stretch = torch.exp(bound * _uniform(n, -0.5, 0.5, generator))
    width, height = area.sqrt() * stretch, area.sqrt() / stretch
    shift_x = (1 - width) * _uniform(n, -1, 1, generator)
    shift_y = (1 - height) * _uniform(n, -1, 1, generator)
    angle = math.radians(1) * settings.rotation_degrees * _uniform(n, -1, 1, generator)
    width = width * _signs(n, settings.horizontal_flip, generator)
    height = height * _signs(n, settings.vertical_flip, generator)
    row_x = torch.stack([width * angle.cos(), -height * angle.sin(), shift_x], dim=1)
    row_y = torch.stack([width * angle.sin(), height * angle.cos(), shift_y], dim=1)
    theta_N23 = torch.stack([row_x, row_y], dim=1).to(images_NCHW.device)
    return functional.affine_grid(theta_N23, list(images_NCHW.shape), align_corners=False)


def _signs(n: int, is_flipping: bool, generator: torch.Generator) -> Tensor:
    flips = torch.rand(n, generator=generator) < (0.5 if is_flipping else 0)
    return 1 - 2 * flips.float()


def _jitter(images_NCHW: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Brightness, contrast about the image's mean grey, saturation, each by a factor in 1 +- strength."""
    factors = _uniform(3 * len(images_NCHW), 1 - strength, 1 + strength, generator).to(images_NCHW.device)
    brightness, contrast, saturation = factors.view(3, -1, 1, 1, 1)
    luma = torch.tensor(_LUMA_RGB, device=images_NCHW.device).view(1, 3, 1, 1)
    grey_N1HW = (images_NCHW * luma).sum(dim=1, keepdim=True)
    coloured_NCHW = grey_N1HW + saturation * (images_NCHW - grey_N1HW)
    mean_N111 = grey_N1HW.mean(dim=(2, 3), keepdim=True)
    return (brightness * (mean_N111 + contrast * (coloured_NCHW - mean_N111))).clamp(0, 255)

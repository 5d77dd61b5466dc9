"""Random changes of training images, a batch at a time, on the device that trains.

Every random number comes from the generator handed in, on the CPU, so a run repeats itself on any device. What is
drawn says `ml.draws`, which also shows it without torch.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ml import draws
from ml.config import Augmentation
from ml.draws import Drawn
from ml.share import ALONE, Share


def augment(images_NCHW: Tensor, settings: Augmentation, generator: torch.Generator, share: Share = ALONE) -> Tensor:
    """Float images in [0, 255], each changed in its own way; crop, rotation and flips are one resampling.

    Of a batch that several processes share the images are this one's, and the random numbers are those of all.
    """

    def source(n: int) -> draws.Floats:
        return torch.rand(n, generator=generator).numpy()

    drawn = draws.draw(len(images_NCHW) * share.size, settings, source, images_NCHW.shape[-1])
    return apply(images_NCHW, drawn.of(share.of(np.arange(len(images_NCHW) * share.size))))


def apply(images_NCHW: Tensor, drawn: Drawn) -> Tensor:
    """The images as floats, each changed as it was drawn."""
    images_NCHW = images_NCHW.float()
    if drawn.affine_N23 is not None:
        theta_N23 = torch.from_numpy(drawn.affine_N23).to(images_NCHW.device)
        grid_NHW2 = functional.affine_grid(theta_N23, list(images_NCHW.shape), align_corners=False)
        images_NCHW = functional.grid_sample(images_NCHW, grid_NHW2, padding_mode="reflection", align_corners=False)
    if drawn.factors_3N is not None:
        images_NCHW = _jitter(images_NCHW, torch.from_numpy(drawn.factors_3N).to(images_NCHW.device))
    if drawn.boxes_N4 is not None:
        images_NCHW = _erased(images_NCHW, drawn.boxes_N4)
    return images_NCHW


def _erased(images_NCHW: Tensor, boxes_N4: draws.Floats) -> Tensor:
    images_NCHW = images_NCHW.clone()
    for image_CHW, box_4 in zip(images_NCHW, boxes_N4, strict=True):
        rows, columns = draws.box_px(box_4, *image_CHW.shape[1:])
        image_CHW[:, rows, columns] = image_CHW.mean(dim=(1, 2))[:, None, None]
    return images_NCHW


def _jitter(images_NCHW: Tensor, factors_3N: Tensor) -> Tensor:
    """Brightness, contrast about the image's mean grey, saturation, each by its factor."""
    brightness, contrast, saturation = factors_3N.view(3, -1, 1, 1, 1)
    luma = torch.tensor(draws.LUMA_RGB, device=images_NCHW.device).view(1, 3, 1, 1)
    grey_N1HW = (images_NCHW * luma).sum(dim=1, keepdim=True)
    coloured_NCHW = grey_N1HW + saturation * (images_NCHW - grey_N1HW)
    mean_N111 = grey_N1HW.mean(dim=(2, 3), keepdim=True)
    return (brightness * (mean_N111 + contrast * (coloured_NCHW - mean_N111))).clamp(0, 255)

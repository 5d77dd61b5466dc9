"""Mixup and CutMix: inputs and labels of a batch, blended in pairs."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ml.config import TrainConfig


def mixed(
    inputs: Tensor, labels_N: Tensor, classes: int, config: TrainConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The inputs and their labels, which are shares of the classes (N, K) where pairs were blended.

    Mixup (Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization") blends the whole of two images or of their
    features; CutMix (Yun et al. 2019) pastes a rectangle, and of features, which have no place, blends too. Where both
    are on, each batch takes one of them. Takes random numbers only where one is on.
    """
    kinds = [(kind, alpha) for kind, alpha in (("mixup", config.mixup), ("cutmix", config.cutmix)) if alpha > 0]
    if not kinds:
        return inputs, labels_N
    random = np.random.default_rng(int(torch.randint(2**31 - 1, (1,), generator=generator)))
    kind, alpha = kinds[random.integers(len(kinds))]
    share = float(random.beta(alpha, alpha))
    others_N = torch.from_numpy(random.permutation(len(labels_N))).to(inputs.device)
    if kind == "cutmix" and inputs.ndim == 4:
        inputs, share = _pasted(inputs, others_N, share, random)
    else:
        inputs = share * inputs + (1 - share) * inputs[others_N]
    targets_NK = functional.one_hot(labels_N, classes).float()
    return inputs, share * targets_NK + (1 - share) * targets_NK[others_N]


def _pasted(images_NCHW: Tensor, others_N: Tensor, share: float, random: np.random.Generator) -> tuple[Tensor, float]:
    """The images with a rectangle of others, and the share that is still their own."""
    height, width = images_NCHW.shape[2:]
    half_y, half_x = (side * np.sqrt(1 - share) / 2 for side in (height, width))
    middle_y, middle_x = random.integers(height), random.integers(width)
    top, bottom = max(0, round(middle_y - half_y)), min(height, round(middle_y + half_y))
    left, right = max(0, round(middle_x - half_x)), min(width, round(middle_x + half_x))
    images_NCHW = images_NCHW.clone()
    images_NCHW[:, :, top:bottom, left:right] = images_NCHW[others_N, :, top:bottom, left:right]
    return images_NCHW, 1 - (bottom - top) * (right - left) / (height * width)

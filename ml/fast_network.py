"""A network for few epochs, after the speed records on CIFAR-10.

Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (arXiv 2404.00498), after Page 2019, "How to Train Your
ResNet". It wants SGD at a high rate, biases that learn much faster than the other weights, and strong label smoothing.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ml.halves import Halves

_SIDE = 2  # of a patch
_FILTERS = 3 * _SIDE**2
_EPSILON = 5e-4  # keeps directions in which patches hardly vary, such as colour in grey images, from being blown up
_SHRUNK_LOGITS = 1 / 9
_BATCH_NORM_MOMENTUM = 0.4


class Whitening(nn.Module):
    """Principal components of patches, of mean 0 and variance 1 over the training images, with both signs.

    They are computed once, by `learn`; of them only the biases are learnt with the rest. A `stride` first shrinks the
    image, whose every pixel still counts.
    """

    kernel: Tensor

    def __init__(self, stride: int) -> None:
        super().__init__()
        self._stride = stride
        arbitrary = nn.init.orthogonal_(torch.empty(_FILTERS, _FILTERS)).view(_FILTERS, 3, _SIDE, _SIDE)
        self.register_buffer("kernel", torch.cat([arbitrary, -arbitrary]))
        self.bias = nn.Parameter(torch.zeros(2 * _FILTERS))

    def forward(self, pixels_NCHW: Tensor) -> Tensor:
        return functional.conv2d(functional.avg_pool2d(pixels_NCHW, self._stride), self.kernel, self.bias)

    @torch.no_grad()
    def learn(self, pixels_NCHW: Tensor) -> None:
        """Takes the components from these images."""
        patches_NFL = functional.unfold(functional.avg_pool2d(pixels_NCHW, self._stride), _SIDE)
        patches_FM = patches_NFL.transpose(0, 1).flatten(1).double()
        variance_F, components_FF = torch.linalg.eigh(patches_FM.cov())
        filters_FF = (components_FF / (variance_F.clamp(min=0) + _EPSILON).sqrt()).T
        centre_F, filters = filters_FF @ patches_FM.mean(dim=1), filters_FF.view(_FILTERS, 3, _SIDE, _SIDE)
        self.kernel.copy_(torch.cat([filters, -filters]))
        self.bias.copy_(torch.cat([-centre_F, centre_F]))


class _Stage(nn.Sequential):
    """Two 3x3 convolutions; the first is followed by half the side."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(channels_out, momentum=_BATCH_NORM_MOMENTUM),
            nn.GELU(),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out, momentum=_BATCH_NORM_MOMENTUM),
            nn.GELU(),
        )

    def hand_on(self) -> None:
        """Lets both convolutions begin by handing their input on; channels beyond it stay random."""
        for module in self:
            if isinstance(module, nn.Conv2d):
                nn.init.dirac_(module.weight.data[: module.in_channels])


def _brightest(grid_NCHW: Tensor) -> Tensor:
    """The highest value of each channel.

    Not by `amax`, whose gradient looks for the values that equal the highest: compiled steps, which round in other
    places, find none and divide by their number.
    """
    return grid_NCHW.flatten(2).max(dim=2).values


class _Brightest(nn.Module):
    def forward(self, grid_NCHW: Tensor) -> Tensor:
        return _brightest(grid_NCHW)


class _Head(nn.Linear):
    """Small logits: the rate that suits the other weights would be far too high for plain ones."""

    def forward(self, features_NF: Tensor) -> Tensor:
        return super().forward(features_NF) * _SHRUNK_LOGITS


def _grid(body: Any, pixels_NCHW: Tensor) -> Tensor:
    grid_NCHW: Tensor = body.stages(body.activation(body.whitening(pixels_NCHW)))
    return grid_NCHW


class _Halves(Halves):
    """Halves that meet in the highest value of each channel, before a head of small logits."""

    def pool(self, grid_NCHW: Tensor) -> Tensor:
        return _brightest(grid_NCHW)

    def weights(self, body: Any) -> dict[str, Tensor]:
        return {"last_weight_KF": body.head.weight * _SHRUNK_LOGITS}


HALVES = _Halves(_grid, "head", "pool.1")


def body(stride: int, dropout: float, classes: int) -> nn.Module:
    """About two million parameters. An image shrunk by `stride` should have 16 to 63 pixels a side."""
    widths = (2 * _FILTERS, 64, 256, 256)
    stages = [_Stage(before, after) for before, after in pairwise(widths)]
    for stage in stages[1:]:  # the first one mixes: of grey images most components are 0, which no batch norm stands
        stage.hand_on()
    parts = {
        "whitening": Whitening(stride),
        "activation": nn.GELU(),
        "stages": nn.Sequential(*stages),
        "pool": nn.Sequential(_Brightest(), nn.Dropout(dropout)),
        "head": _Head(widths[-1], classes),
    }
    network = nn.Sequential()
    for name, part in parts.items():
        network.add_module(name, part)
    return network
